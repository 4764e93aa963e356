"""What can be counted: every amount is bounded, or its order rejected with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from streambt_spark import Instrument
from streambt_spark.allocation import FixedSize, PercentOfEquity, Portfolio
from streambt_spark.core.amounts import MOST_VALUE, most_value
from streambt_spark.core.rounding import round_minor
from streambt_spark.engines.result import Result
from streambt_spark.errors import BadParameter
from tests.golden.table import check, lines, run

Bars = dict[str, list[tuple[float, float, float, float] | None]]


def at(symbol: str, *prices: float) -> Bars:
    """Return bars of one price each."""
    return {symbol: [(price,) * 4 for price in prices]}


def rows(result: Result, kind: str) -> list[dict[str, Any]]:
    """Return the events of a kind."""
    return [row for row in result.events.to_pylist() if row["kind"] == kind]


@pytest.mark.parametrize("price", [1e-5, 1e-8, 1e-13, 1e-300])
def test_lots_that_cannot_be_counted_are_rejected(price: float) -> None:
    """1e9 at 1e-5 in lots of 1e-8 are 1e22 lots: beyond 2**63 a purchase became a sale."""
    result = run(at("@X", price, price, price), [1, 1, 0], PercentOfEquity(1), cash=1e9)
    rejects = rows(result, "reject")
    assert {row["reason"] for row in rejects} == {"quantity_too_large"}
    assert [row["quantity"] for row in rejects] == [None] * 2  # there is no such number
    assert [row["side"] for row in rejects] == ["buy"] * 2
    assert set(result.equity["equity"]) == {1e9}
    assert len(result.fills) == 0


def test_lots_are_counted_as_far_as_they_are_exact() -> None:
    """90,071,992.5 in lots of 1e-8 are fewer than 2**53 lots; one unit more is refused."""
    bars = at("@X", 0.001, 0.001)
    result = run(bars, [1, 0], FixedSize(90_071_992.5), cash=1e9)
    assert result.fills["quantity"].tolist() == [90_071_992.5]
    assert result.fills["amount"].tolist() == [-90_071.99]
    with pytest.raises(BadParameter, match="too many lots to count"):
        run(bars, [1, 0], FixedSize(90_071_993.5), cash=1e9)


def test_a_price_that_makes_a_position_uncountable_is_not_believed() -> None:
    """100 shares jump to 1e16: they keep their mark, and the lane places no more orders."""
    result = run(at("X", 10, 10, 1e16, 11, 11), [1, 0, -1, -1, -1], FixedSize(100), cash=2_000)
    check(
        result,
        """
         1 cash   +200000 = 200000 initial
         1 equity 200000 = 200000 cash, exposure 0
         1 order  #2 buy 100 X @ 10.00
         2 fill   #2 buy 100 X @ 10.00 fee 0 amount -100000 cash 100000 position 100
         2 equity 200000 = 100000 cash, exposure 100000
         3 equity 200000 = 100000 cash, exposure 100000    | 1e18 is no value, 10.00 stays
         3 disabled value_too_large
         4 equity 210000 = 100000 cash, exposure 110000    | 11.00 is one again
         5 equity 210000 = 100000 cash, exposure 110000    | no order to sell is placed
        """,
    )


def test_an_order_that_is_too_dear_to_count_is_rejected() -> None:
    """An exit at 1e16, an entry at 1e14, a fee of 1e300: each with its reason, and no posting."""
    bars = {"X": [(10.0,) * 4, (10.0,) * 4, (10.0,) * 4, (1e16,) * 4]}
    left = run(bars, [1, 0, -1, 0], FixedSize(100), cash=2_000)
    assert lines(left)[6:] == [
        "3 order  #6 sell 100 X @ 10.00",
        "4 reject #6 sell 100 X @ 10000000000000000.00 value_too_large",
        "4 equity 200000 = 100000 cash, exposure 100000",
        "4 disabled value_too_large",
    ]
    entry = run(at("X", 1e14, 1e14), [1, 0], FixedSize(1), cash=9e13)
    assert [row["reason"] for row in rows(entry, "reject")] == ["value_too_large"]
    fee = run(at("X", 10, 10), [1, 0], FixedSize(1), cash=2_000, commission=1e300)
    assert [row["reason"] for row in rows(fee, "reject")] == ["value_too_large"]
    assert set(fee.equity["equity"]) == {2000.0}


def test_the_cash_stays_a_count() -> None:
    """Within a cent of 2**53 minor units: the sale that would pass it is rejected."""
    result = run(at("X", 1, 1, 1e12, 1e12), [1, 0, -1, 0], FixedSize(1), cash=90_071_992_547_409)
    assert [row["reason"] for row in rows(result, "reject")] == ["value_too_large"]
    assert result.fills["cash"].tolist() == [90_071_992_547_408]


def doubles(strength: Mapping[str, float], portfolio: Portfolio, bars: object) -> dict[str, float]:
    """Hold ten, then twenty."""
    return {"X": 20.0 if portfolio.quantity else 10.0}


def test_a_position_stays_a_value() -> None:
    """10 at 1.5e11 can be counted, and 10 more; 20 together cannot."""
    result = run(at("X", *[1.5e11] * 4), [1, 1, 1, 0], doubles, cash=9e13)
    assert result.fills["quantity"].tolist() == [10.0]
    assert {row["reason"] for row in rows(result, "reject")} == {"value_too_large"}


def turns(strength: Mapping[str, float], portfolio: Portfolio, bars: object) -> dict[str, float]:
    """Hold so many that as many again are more than can be counted."""
    return {"@X": -6e7 if portfolio.quantity else 6e7}


def test_an_order_is_a_count_of_lots() -> None:
    """6e15 lots long and 6e15 short are targets; the 1.2e16 between them are no order."""
    result = run(at("@X", *[0.001] * 3), [1, 1, 0], turns, cash=1e6, allow_short=True)
    assert result.positions["quantity"].tolist() == [6e7]
    (reject,) = rows(result, "reject")
    assert (reject["side"], reject["quantity"]) == ("sell", None)
    assert reject["reason"] == "quantity_too_large"


@pytest.mark.parametrize("multiplier", [float("inf"), float("nan"), 0, -1])
def test_a_multiplier_is_a_positive_finite_number(multiplier: float) -> None:
    """Whatever it multiplies could not be counted."""
    with pytest.raises(BadParameter, match="positive, finite number"):
        Instrument(multiplier=multiplier)


@pytest.mark.parametrize("step", [1e-300, 1e300, 1e-17])
def test_a_step_that_cannot_be_counted_with_is_refused(step: float) -> None:
    """A tick or a lot is a fraction of whole numbers that are exact as float64."""
    for make in ({"tick": step}, {"lot": step}):
        with pytest.raises(BadParameter, match=r"cannot be counted with; take one of 1e-15"):
            Instrument(**make)


def test_a_lot_of_many_units_is_counted() -> None:
    """Lots of a million: the quantity of all lots is below 2**53 too."""
    bars, traded = at("X", 0.01, 0.01), {"X": Instrument(lot=1e6)}
    result = run(bars, [1, 0], PercentOfEquity(1), cash=1e6, instruments=traded)
    assert result.fills["quantity"].tolist() == [1e8]
    many = run(at("X", 1e-10, 1e-10), [1, 0], PercentOfEquity(1), cash=1e6, instruments=traded)
    assert rows(many, "reject")[0]["reason"] == "quantity_too_large"


def test_whole_minor_units_stay_whole_up_to_the_bound() -> None:
    """Odd and even counts, a few units in the last place off, up to 2**48."""
    for whole in (MOST_VALUE - 1, MOST_VALUE - 2, 2**47 + 1, 12_345):
        for off in (-2, -1, 0, 1, 2):
            value = float(whole)
            for _ in range(abs(off)):
                value = float(np.nextafter(value, np.inf * off))
            assert (round_minor(value), round_minor(-value)) == (whole, -whole)


@pytest.mark.parametrize("symbols", [1, 500, 2**14, 2**20])
def test_the_sum_of_all_positions_is_an_int64(symbols: int) -> None:
    """With the cash: the wider the universe, the lower the bound of one value."""
    assert symbols * most_value(symbols) + 2**53 < 2**63
    assert most_value(1) == MOST_VALUE
