"""Commissions: every form that is understood, to the last cent, and every one that is not."""

from __future__ import annotations

import numpy as np
import pytest

from streambt_spark.core.broker.commission import Commission, Tier, parse
from streambt_spark.core.broker.costs import charge
from streambt_spark.errors import BadParameter


def fee(setting: object, value: float, quantity: float = 1.0, *, sell: bool = False) -> float:
    """Return the commission of an order worth `value`."""
    return round(charge(np.array(parse(setting).table()), int(sell), value, quantity), 10)


@pytest.mark.parametrize(
    ("setting", "value", "quantity", "expected"),
    [
        (0, 1000, 10, 0.0),
        (2.5, 1000, 10, 2.5),
        ("2.5", 1000, 10, 2.5),
        ("0.1%", 1000, 10, 1.0),
        (".1 %", 1000, 10, 1.0),
        ("0.005/share", 1000, 300, 1.5),
        ("0.005 / share min 1", 1000, 100, 1.0),
        ("0.005/share min 1 max 0.5%", 100, 100, 0.5),  # the maximum wins over the minimum
        ("0.1% max 5", 10_000, 10, 5.0),
        ("0.1% max 5 min 2", 100, 10, 2.0),
    ],
)
def test_one_rate(setting: object, value: float, quantity: float, expected: float) -> None:
    """Flat, percent and per share, with a minimum and maxima."""
    assert fee(setting, value, quantity) == expected
    assert fee(setting, value, quantity, sell=True) == expected


def test_buys_and_sells_apart() -> None:
    """A side that is left out is free."""
    both = {"buy": "0.1%", "sell": 3}
    assert (fee(both, 1000), fee(both, 1000, sell=True)) == (1.0, 3.0)
    assert (fee({"sell": 3}, 1000), fee({"sell": 3}, 1000, sell=True)) == (0.0, 3.0)


def test_tiers_have_bounds_of_their_own() -> None:
    """Below 1000 1 % with at least 5, below 10,000 0.5 %, above 0.1 % with at most 12."""
    tiers = [[1000, "1% min 5"], [10_000, "0.5%"], "0.1% max 12"]
    found = [fee(tiers, value) for value in (100, 999.99, 1000, 9999.99, 10_000, 50_000)]
    assert found == [5.0, 9.9999, 5.0, 49.99995, 10.0, 12.0]


def test_a_value_on_a_bound_belongs_above_it() -> None:
    """3 at 0.7 is 2.0999999999999996 as float64, and 2.1 all the same."""
    assert 3 * 0.7 < 2.1
    assert fee([[2.1, 1], 2], 3 * 0.7) == 2.0


@pytest.mark.parametrize(
    "setting",
    ["", "free", "-1", -1, "1% min 5%", "1% min 1 min 2", True, None, [], [[1000, 1]],
     [[10, 1], [5, 2], 3], {"hold": 1}, {}, [["x", 1], 2], "1e3", float("nan"), [[10, [1, 2]], 1]],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_the_forms(setting: object) -> None:
    """The message says what may be written."""
    with pytest.raises(BadParameter, match=r"commission .* is not understood; write a number"):
        parse(setting)


def test_a_commission_is_itself() -> None:
    """An object built by hand passes, and equals what its text says."""
    built = Commission((Tier(percent=0.1),), (Tier(flat=1.0),))
    assert parse(built) is built
    assert parse({"buy": "0.1%", "sell": 1}) == built
