"""Metrics over made-up accounts: empyrical is the oracle, and no figure is ever NaN or infinite."""

from __future__ import annotations

import json
import math

import empyrical
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streambt_spark.core.ledger import metrics
from streambt_spark.core.ledger.metrics import Metrics
from streambt_spark.core.ledger.summaries import Curve, summarise
from tests.ledgers import DAY, no_fills

FIRST = 7
"""The day of the first slice."""
CENTS = st.integers(1, 10**12)


def measure(equity: list[int], initial: int) -> Metrics:
    """Return the metrics of one slice a day without fills."""
    days = FIRST + np.arange(len(equity))
    curve = Curve(days * DAY, days, np.array(equity, np.int64), np.zeros(len(equity), np.int64))
    none = np.zeros(2, np.int64)
    (summary,) = summarise(
        np.array([initial]), curve, np.array([0, len(equity)]), no_fills(), none, 1
    )
    return metrics.measure(summary, periods_per_year=252, calendar="XNYS")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=60))
def test_equals_empyrical(steps: list[float]) -> None:
    """For any path of returns the shared figures are empyrical's, null where its are not finite."""
    equity = [10**12]
    for step in steps:
        equity.append(max(1, round(equity[-1] * (1 + step))))
    found = measure(equity[1:], equity[0])
    returns = np.diff(equity) / equity[:-1]
    # The spread of equal returns is what rounding left of it: no two programs divide by the same.
    assume(np.std(returns) > 1e-6)
    for name, function in (
        ("total_return", empyrical.cum_returns_final),
        ("annual_return", empyrical.annual_return),
        ("volatility", empyrical.annual_volatility),
        ("sharpe", empyrical.sharpe_ratio),
        ("sortino", empyrical.sortino_ratio),
        ("max_drawdown", empyrical.max_drawdown),
    ):
        expected, value = float(function(returns)), getattr(found, name)
        if not math.isfinite(expected):
            assert value is None, name
        else:
            assert math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9), name


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(-(10**15), 10**15), max_size=20), CENTS)
def test_always_strict_json(equity: list[int], initial: int) -> None:
    """Whatever the equity, the figures are strict JSON: no NaN, no infinity."""
    assert json.dumps(measure(equity, initial).as_dict(), allow_nan=False)


@settings(max_examples=100, deadline=None)
@given(st.lists(CENTS, min_size=2, max_size=30), st.integers(2, 9))
def test_scale_changes_no_ratio(equity: list[int], scale: int) -> None:
    """An account twice as large, in every cent, has the same drawdown and its times."""
    one = measure(equity, equity[0])
    other = measure([scale * cents for cents in equity], scale * equity[0])
    for name in ("max_drawdown", "max_drawdown_peak", "max_drawdown_periods", "total_return"):
        assert getattr(one, name) == getattr(other, name)


def fall_of(equity: list[int]) -> tuple[object, ...]:
    """Return the deepest fall of [initial, day 0, day 1, …], found by looking at every pair."""
    falls = [
        ((low - high) / high, peak, trough)
        for peak, high in enumerate(equity)
        if high == max(equity[: peak + 1])
        for trough, low in enumerate(equity[peak:], peak)
        if max(equity[peak : trough + 1]) == high
    ]
    depth = min(fall for fall, _, _ in falls)
    if depth == 0:
        return (0.0, None, None, None, 0)
    trough = min(at for fall, _, at in falls if fall == depth)
    # Where the peak's height was reached several times, the fall began at the last of them.
    peak = max(start for fall, start, at in falls if (fall, at) == (depth, trough))
    later = (at for at in range(trough, len(equity)) if equity[at] >= equity[peak])
    recovery = next(later, None)
    until = len(equity) - 1 if recovery is None else recovery
    return (depth, peak, trough, recovery, until - peak)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=12))
def test_drawdown_is_the_deepest_of_all(equity: list[int]) -> None:
    """Of equal falls the first, from the last time at its peak, to the recovery or the end."""
    found = measure(equity[1:], equity[0])
    times = (found.max_drawdown_peak, found.max_drawdown_trough, found.max_drawdown_recovery)
    depth, *places, periods = fall_of(equity)
    expected = [None if at is None else (FIRST + max(0, at - 1)) * DAY for at in places]
    assert (found.max_drawdown, list(times)) == (depth, expected)
    assert found.max_drawdown_periods == periods
