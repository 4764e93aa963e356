"""Metrics over made-up accounts: empyrical is the oracle, and no figure is ever NaN or infinite."""

from __future__ import annotations

import json
import math

import empyrical
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streambt_spark.core.ledger import metrics
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.metrics import Curve, Metrics
from streambt_spark.core.ledger.trades import Fills, match_fills

DAY = 86_400_000_000
CENTS = st.integers(1, 10**12)


def measure(equity: list[int], initial: int) -> Metrics:
    """Return the metrics of one slice a day without fills."""
    count = len(equity)
    fills = Fills.of(Events.empty(), 0)
    return metrics.compute(
        Curve(
            ts=np.arange(count, dtype=np.int64) * DAY,
            equity=np.array(equity, np.int64),
            exposure=np.zeros(count, np.int64),
        ),
        np.arange(count),
        match_fills(fills)[0],
        fills,
        initial=initial,
        periods_per_year=252,
        calendar="XNYS",
    )


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
