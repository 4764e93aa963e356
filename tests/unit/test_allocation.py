"""Allocations: what they refuse, and what a portfolio function sees and may do."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from streambt_spark.allocation import (
    AllIn,
    Bar,
    EqualWeight,
    FixedSize,
    PercentOfEquity,
    Portfolio,
    TargetPercent,
)
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.broker.sizing import Parameters, Sizing
from streambt_spark.errors import BadParameter
from tests.golden.table import DAY, FIRST, lines, run
from tests.lanes import fold_lane
from tests.property.accounts import panel_of

Strength = Mapping[str, float]
Bars = Mapping[str, Bar]


def flat(*prices: float) -> list[tuple[float, float, float, float] | None]:
    """Return bars of one price each; 0 stands for no bar."""
    return [(price,) * 4 if price else None for price in prices]


@pytest.mark.parametrize("kind", [FixedSize, PercentOfEquity, TargetPercent, EqualWeight])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1"])
def test_a_size_is_a_positive_number(kind: Any, value: object) -> None:
    """Anything else is refused by name."""
    with pytest.raises(BadParameter, match=f"{kind.__name__} needs a positive number"):
        kind(value)


@pytest.mark.parametrize(
    "make", [lambda: PercentOfEquity(10), lambda: TargetPercent(1.01), lambda: EqualWeight(2, 1.5)]
)
def test_a_share_is_at_most_one(make: Any) -> None:
    """10 for 10 % is a mistake worth naming."""
    with pytest.raises(BadParameter, match=r"up to 1 \(0\.5 is 50 %\)"):
        make()


def test_equal_weight_takes_the_universe_unless_told() -> None:
    """A third of the equity of each of three, or half of 90 % for two positions."""
    assert EqualWeight().sizing(3) == Parameters(Sizing.TARGET_PERCENT, share=1 / 3)
    assert EqualWeight(2, share=0.9).sizing(3) == Parameters(Sizing.TARGET_PERCENT, share=0.45)


def test_percent_of_equity_is_sized_once() -> None:
    """40 % of 1000 at 10 are 40; at 20 the position is worth more, and stays as it is."""
    result = run({"X": flat(10, 10, 20, 20)}, [1, 1, 1, 1], PercentOfEquity(0.4), cash=1_000)
    assert result.positions["quantity"].tolist() == [40.0]


def test_target_percent_is_rebalanced_at_each_pulse() -> None:
    """At 20 the equity is 1400, 40 % of it are 28 at 20: 12 are sold. No pulse, no rebalance."""
    result = run({"X": flat(10, 10, 20, 20, 40)}, [1, 0, 1, 0, 0], TargetPercent(0.4), cash=1_000)
    assert result.fills["side"].tolist() == ["buy", "sell"]
    assert result.fills["quantity"].tolist() == [40.0, 12.0]


def test_all_in_gives_everything_to_the_first() -> None:
    """Two ask in one slice: A, first in the universe, takes what it can, B the change."""
    result = run({"A": flat(30, 30), "B": flat(4, 4)}, [1, 0], AllIn(), cash=1_000)
    assert result.orders["quantity"].tolist() == [33.0, 2.0]
    assert result.fills["quantity"].tolist() == [33.0, 2.0]


def test_fractions_where_the_instrument_has_them() -> None:
    """Crypto trades in 1e-8: 10 % of 1000 at 30,000 are 0.00333333."""
    result = run({"@BTC": flat(30_000, 30_000)}, [1, 0], PercentOfEquity(0.1), cash=1_000)
    assert result.fills["quantity"].tolist() == [0.00333333]
    assert result.fills["amount"].tolist() == [-100.0]  # 99.9999 to the cent


def test_what_a_function_sees() -> None:
    """Strengths that ask, the portfolio after the slice's fills, and the slice's bars."""
    seen: list[tuple[dict[str, float], Portfolio, dict[str, Bar]]] = []

    def watch(strength: Strength, portfolio: Portfolio, bars: Bars) -> dict[str, float]:
        seen.append((dict(strength), portfolio, dict(bars)))
        return {"A": 10.0, "B": 5.0}

    # A closure over a list has no stable identity, so it is folded without a Cerebro.
    present = np.array([[True, True], [True, False]])
    ticks = np.full((2, 2, 4), [1000, 1100, 0, 0])
    panel = panel_of(present, ticks, np.ones(2))
    pulse = np.array([[1.0, 0.0], [-2.0, 1.0]])
    events = fold_lane(panel, pulse, Broker(cash=1_000), watch)
    bar = Bar(10.0, 11.0, 10.0, 11.0, 1.0)
    assert seen[0] == ({"A": 1.0}, Portfolio(DAY, 1000.0, 1000.0, {}, {}), {"A": bar, "B": bar})
    after = Portfolio(2 * DAY, 900.0, 1010.0, {"A": 10.0}, {"B": 5.0})
    assert seen[1] == ({"A": -2.0}, after, {"A": bar})
    assert len(events) == 6  # cash, equity, two orders; A's fill, equity: B waits, A has its target


def raises_on_day_2(strength: Strength, portfolio: Portfolio, bars: Bars) -> dict[str, float]:
    """Buy 5, then fail."""
    if portfolio.ts > FIRST * DAY:
        raise RuntimeError("no")
    return dict.fromkeys(strength, 5.0)


def line_of(function: Any, text: str) -> int:
    """Return the number of the line of a function's source that holds a text."""
    source, first = inspect.getsourcelines(function)
    return first + next(n for n, line in enumerate(source) if text in line)


def test_a_function_that_raises_is_switched_off() -> None:
    """Its order of day 1 still fills; from day 2 the lane only holds, and the ledger says why."""
    result = run({"X": flat(10, 10, 10)}, [1, 1, 1], raises_on_day_2, cash=1_000)
    assert lines(result)[3:] == [
        "2 fill   #2 buy 5 X @ 10.00 fee 0 amount -5000 cash 95000 position 5",
        "2 equity 100000 = 95000 cash, exposure 5000",
        "2 disabled allocation_raised",
        "3 equity 100000 = 95000 cash, exposure 5000",
    ]
    line = line_of(raises_on_day_2, "raise RuntimeError")
    assert texts(result) == [f"RuntimeError: no (test_allocation.py line {line})"]


def texts(result: Any) -> list[str]:
    """Return what the disabled events say."""
    return [row["text"] for row in result.events.to_pylist() if row["kind"] == "disabled"]


def outside(strength: Strength, portfolio: Portfolio, bars: Bars) -> dict[str, float]:
    """Ask for a symbol that is not there."""
    return {"Z": 1.0, "X": 1.0}


def unnumbered(strength: Strength, portfolio: Portfolio, bars: Bars) -> dict[str, float]:
    """Ask for nothing that is a number."""
    return {"X": float("nan")}


def boundless(strength: Strength, portfolio: Portfolio, bars: Bars) -> dict[str, float]:
    """Ask for more than any number."""
    return {"X": float("inf")}


def worded(strength: Strength, portfolio: Portfolio, bars: Bars) -> dict[str, Any]:
    """Ask for a word."""
    return {"X": "much"}


def silent(strength: Strength, portfolio: Portfolio, bars: Bars) -> None:
    """Forget to return anything."""


def listed(strength: Strength, portfolio: Portfolio, bars: Bars) -> list[float]:
    """Return something else."""
    return [1.0]


def leaves(strength: Strength, portfolio: Portfolio, bars: Bars) -> dict[str, float]:
    """Leave the program."""
    raise SystemExit(3)


def deep(strength: Strength, portfolio: Portfolio, bars: Bars) -> dict[str, float]:
    """Fail in what it calls, with folders, an address and lines in the message."""
    return helper(object())


def helper(what: object) -> dict[str, float]:
    """Fail."""
    raise ValueError(f"no /tmp/x-1/y-2/prices.csv\nfor {what!r}")


DEEP = (
    "ValueError: no prices.csv for <object object at 0x…> "
    f"(test_allocation.py line {line_of(helper, 'raise')})"
)


def refused(function: Any, message: str) -> str:
    """Return what is told of an answer that is none: the function's first line."""
    return f"BadParameter: {message} (test_allocation.py line {line_of(function, 'def ')})"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (outside, refused(outside, "the allocation names symbols outside the universe: Z")),
        (unnumbered, refused(unnumbered, "the allocation's target of X is nan, expected a number")),
        (boundless, refused(boundless, "the allocation's target of X is inf, expected a number")),
        (worded, refused(worded, "the allocation's target of X is 'much', expected a number")),
        (silent, refused(silent, "the allocation returned None, expected {symbol: quantity}")),
        (listed, refused(listed, "the allocation returned a list, expected {symbol: quantity}")),
        (leaves, f"SystemExit: 3 (test_allocation.py line {line_of(leaves, 'raise')})"),
        (deep, DEEP),
    ],
)
def test_an_answer_that_makes_no_sense_switches_it_off(function: Any, said: str) -> None:
    """No traceback, no order, one event that says in one line what is wrong, and where."""
    result = run({"X": flat(10, 10)}, [1, 1], function, cash=1_000)
    assert lines(result)[2] == "1 disabled allocation_raised"
    assert len(lines(result)) == 4
    assert texts(result) == [said]


def endless(strength: Strength, portfolio: Portfolio, bars: Bars) -> dict[str, float]:
    """Ask for more than can be counted."""
    return {"X": -1e300}


def test_a_target_that_cannot_be_counted_is_rejected() -> None:
    """As a built-in allocation's is; the lane goes on."""
    result = run({"X": flat(10, 10)}, [1, 1], endless, cash=1_000, allow_short=True)
    rejects = [row for row in result.events.to_pylist() if row["kind"] == "reject"]
    found = [(row["side"], row["quantity"], row["reason"]) for row in rejects]
    assert found == [("sell", None, "quantity_too_large")] * 2
    assert texts(result) == []
