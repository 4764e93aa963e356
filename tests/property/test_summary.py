"""Summaries of random accounts: folded in any portions, or over the whole ledger."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import Kind
from streambt_spark.core.ledger.lots import ROOM, Lots, open_lots, with_room
from streambt_spark.core.ledger.metrics import measure
from streambt_spark.core.ledger.summaries import from_text, summarise, to_text
from streambt_spark.core.ledger.summary import (
    finish,
    observe_equity,
    observe_fill,
    open_summary,
)
from streambt_spark.core.ledger.sums import add, add_exact, joined, parted
from streambt_spark.core.ledger.trades import match_fills
from tests.ledgers import DAY, curve_of, fills_of
from tests.property.accounts import Case, cases
from tests.property.test_broker import ledger_of

_FILL, _EQUITY = int(Kind.FILL), int(Kind.EQUITY)


@njit
def kernel(  # type: ignore[no-untyped-def]
    start, stop, summary, lots, kind, ts, symbol, side, quantity, commission, amount, equity, held
):
    """Take in events as a broker's kernel would, while the lots have room; return the next one."""
    for n in range(start, stop):
        if lots.free[ROOM] == 0:
            return n
        if kind[n] == _FILL:
            observe_fill(
                summary[0], lots, ts[n], symbol[n], side[n], quantity[n], commission[n], amount[n]
            )
        elif kind[n] == _EQUITY:
            observe_equity(summary[0], ts[n], equity[n], held[n], ts[n] // DAY)
    return stop


def folded(case: Case, events: Events, portions: list[int]) -> np.ndarray:
    """Return the summary as a kernel makes it in portions, its state copied between them."""
    names = (
        "kind",
        "ts",
        "symbol",
        "side",
        "quantity",
        "commission",
        "amount",
        "equity",
        "exposure",
    )
    columns = [getattr(events, name) for name in names]
    summary = open_summary(round(case.broker.cash * 100))
    lots = open_lots(len(case.panel.symbols))
    start = 0
    for stop in [*portions, len(events)]:
        while start < min(stop, len(events)):
            start = kernel(start, min(stop, len(events)), summary, lots, *columns)
            summary, lots = summary.copy(), with_room(_copied(lots), 1)
    finish(summary[0])
    return summary


def _copied(lots: Lots) -> Lots:
    return Lots(*(column.copy() for column in lots))


def whole(case: Case, events: Events) -> np.ndarray:
    """Return the summary that is made of a full ledger."""
    curve, fills = curve_of(events), fills_of(events)
    return summarise(
        np.array([round(case.broker.cash * 100)]),
        curve,
        np.array([0, len(curve)]),
        fills,
        np.array([0, len(fills)]),
        len(case.panel.symbols),
    )


@given(cases(), st.lists(st.integers(1, 60), max_size=5).map(sorted))
def test_a_fold_in_portions_is_the_full_ledgers(case: Case, portions: list[int]) -> None:
    """Summary, text and metrics are equal to the bit, wherever the fold was cut."""
    events = ledger_of(case)
    one, other = folded(case, events, portions), whole(case, events)
    assert one.tobytes() == other.tobytes()
    assert to_text(one[0]) == to_text(other[0])
    again = from_text(to_text(one[0]))
    assert again.tobytes() == one.tobytes()
    annual: dict[str, Any] = {"periods_per_year": 252, "calendar": "XNYS"}
    assert measure(again[0], **annual) == measure(other[0], **annual)


@given(cases())
def test_trade_figures_are_those_of_the_trades(case: Case) -> None:
    """Counts and sums of the running fold are those of the listed round trips."""
    events = ledger_of(case)
    trades, _ = match_fills(fills_of(events))
    pnl = trades.pnl.tolist()
    found = measure(whole(case, events)[0], periods_per_year=252, calendar="XNYS")
    assert found.trades == len(trades)
    assert found.best_trade == max(pnl, default=None)
    assert found.worst_trade == min(pnl, default=None)
    if pnl:
        assert found.expectancy == sum(pnl) / len(pnl)
        assert found.win_rate == sum(x > 0 for x in pnl) / len(pnl)
        assert found.average_holding == sum(trades.held.tolist()) / len(pnl)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integer_sums_are_exact(values: list[int]) -> None:
    """Whatever the integers, the two parts are those of Python's sum."""
    high = low = 0
    for value in values:
        high, low = add_exact(high, low, value)
    assert (high, low) == parted(sum(values))
    assert joined(high, low) == sum(values)


@given(st.lists(st.floats(-1e9, 1e9), max_size=200))
def test_float_sums_are_as_good_as_twice_the_precision(values: list[float]) -> None:
    """The sum is the correctly rounded one, but for what cancels beyond 30 digits."""
    total = rest = 0.0
    for value in values:
        total, rest = add(total, rest, value)
    size = math.fsum(map(abs, values))
    assert math.isclose(total + rest, math.fsum(values), rel_tol=2**-52, abs_tol=1e-28 * size)
