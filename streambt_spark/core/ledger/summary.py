"""The summary of one account: running figures, folded slice by slice and fill by fill.

The figures of an account need no ledger: `observe_equity` and `observe_fill` take them in as they
happen, in constant memory but for the open lots, and `finish` ends the last session. Whoever calls
them, a kernel as it trades or `summarise` over the events of a ledger, has the same summary, to the
bit.

Sums are those of `sums`: each has two fields. The spread of returns is taken about the first one:
it is among them, so however little they differ, at most the number of sessions is lost in
precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from streambt_spark.core.ledger.lots import close, enter, oldest, settle
from streambt_spark.core.ledger.sums import add, add_exact, joined
from streambt_spark.core.records import record_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUMMARY = record_of(
    # Slices.
    ("initial", np.int64),  # cash before the first slice
    ("slices", np.int64),
    ("start", np.int64),  # of the first slice, UTC microseconds
    ("ts", np.int64),  # of the latest slice
    ("equity", np.int64),  # of the latest slice, or the initial cash
    ("session", np.int64),  # of the latest slice
    ("pending", np.int64),  # 1 where the latest slice's session has not ended
    ("in_market", np.int64),  # slices that end with a position
    ("solvent", np.int64),  # slices with equity left
    ("exposure", np.float64),  # Σ gross position value / equity over those
    ("exposure_rest", np.float64),
    # Session ends.
    ("periods", np.int64),
    ("before", np.int64),  # equity at the end of the last session that has ended
    ("ruined", np.int64),  # 1 once a session ended with no equity
    ("equities_high", np.int64),  # Σ equity
    ("equities_low", np.int64),
    ("first", np.float64),  # the first return
    ("returns", np.float64),  # Σ return
    ("returns_rest", np.float64),
    ("excess", np.float64),  # Σ (return - first)
    ("excess_rest", np.float64),
    ("squares", np.float64),  # Σ (return - first)²
    ("squares_rest", np.float64),
    ("downside", np.float64),  # Σ min(return, 0)²
    ("downside_rest", np.float64),
    # Drawdown; a period is counted from 1, 0 is the start.
    ("peak", np.int64),
    ("peak_ts", np.int64),
    ("peak_period", np.int64),
    ("fall", np.float64),  # the deepest, zero or negative
    ("fall_peak_ts", np.int64),
    ("fall_peak_period", np.int64),
    ("trough_ts", np.int64),
    ("recovered", np.int64),  # 1 where the peak was reached again
    ("recovery_ts", np.int64),
    ("recovery_period", np.int64),
    # Fills and closed round trips.
    ("fills", np.int64),
    ("commissions_high", np.int64),
    ("commissions_low", np.int64),
    ("traded_high", np.int64),  # Σ value bought or sold, without commission
    ("traded_low", np.int64),
    ("trades", np.int64),
    ("wins", np.int64),
    ("losses", np.int64),
    ("won_high", np.int64),  # Σ pnl of the wins
    ("won_low", np.int64),
    ("lost_high", np.int64),  # Σ pnl of the losses
    ("lost_low", np.int64),
    ("held_high", np.int64),  # Σ microseconds from entry to exit
    ("held_low", np.int64),
    ("best", np.int64),  # pnl of the best trade
    ("worst", np.int64),
)
"""Running figures of one lane; money in minor units."""


def open_summary(initial: int | NDArray[np.int64]) -> NDArray[np.void]:
    """Return the summaries of accounts before their first slice, SUMMARY[L], from their cash."""
    cash = np.atleast_1d(np.asarray(initial, np.int64))
    summary = np.zeros(len(cash), SUMMARY)
    for name in ("initial", "equity", "before", "peak"):
        summary[name] = cash
    return summary


@njit(cache=True)
def observe_equity(summary, ts, equity, exposure, session):  # type: ignore[no-untyped-def]
    """Take in an account at the end of a slice.

    `ts` is UTC microseconds, `equity` and `exposure` (gross position value) minor units, `session`
    the number of the slice's session.
    """
    if summary.slices == 0:
        summary.start = ts
        summary.peak_ts = ts
    elif summary.pending != 0 and session != summary.session:
        _end_session(summary)
    summary.slices += 1
    summary.ts = ts
    summary.equity = equity
    summary.session = session
    summary.pending = 1
    if exposure > 0:
        summary.in_market += 1
    if equity > 0:
        summary.solvent += 1
        if exposure > 0:
            summary.exposure, summary.exposure_rest = add(
                summary.exposure, summary.exposure_rest, exposure / equity
            )


@njit(cache=True)
def observe_fill(summary, lots, ts, symbol, side, quantity, commission, amount):  # type: ignore[no-untyped-def]
    """Take in a fill; `lots` must have room for it.

    `side` is 1 for a purchase and -1 for a sale, `amount` what changed cash, commission included.
    """
    row = enter(lots, summary.fills, ts, side, quantity, commission, amount)
    summary.fills += 1
    summary.commissions_high, summary.commissions_low = add_exact(
        summary.commissions_high, summary.commissions_low, commission
    )
    summary.traded_high, summary.traded_low = add_exact(
        summary.traded_high, summary.traded_low, abs(amount + commission)
    )
    lot = oldest(lots, symbol, row)
    while lot >= 0:
        entered = lots.rows[lot].ts
        _, paid, _, received, _ = close(lots, symbol, lot, row)
        _observe_trade(summary, paid + received, ts - entered)
        lot = oldest(lots, symbol, row)
    settle(lots, symbol, row)


@njit(cache=True)
def finish(summary):  # type: ignore[no-untyped-def]
    """End the last session: there are no more slices. Finishing twice changes nothing."""
    if summary.pending != 0:
        _end_session(summary)
        summary.pending = 0


@njit(cache=True)
def _end_session(summary):  # type: ignore[no-untyped-def]
    """Take in the latest slice as a session's end."""
    equity = summary.equity
    summary.periods += 1
    summary.equities_high, summary.equities_low = add_exact(
        summary.equities_high, summary.equities_low, equity
    )
    if equity <= 0:
        summary.ruined = 1
    if summary.ruined == 0:
        _observe_return(summary, (equity - summary.before) / summary.before)
    summary.before = equity
    _observe_drawdown(summary, equity)


@njit(cache=True)
def _observe_return(summary, value):  # type: ignore[no-untyped-def]
    if summary.periods == 1:
        summary.first = value
    excess = value - summary.first
    below = min(value, 0.0)
    summary.returns, summary.returns_rest = add(summary.returns, summary.returns_rest, value)
    summary.excess, summary.excess_rest = add(summary.excess, summary.excess_rest, excess)
    summary.squares, summary.squares_rest = add(
        summary.squares, summary.squares_rest, excess * excess
    )
    summary.downside, summary.downside_rest = add(
        summary.downside, summary.downside_rest, below * below
    )


@njit(cache=True)
def _observe_drawdown(summary, equity):  # type: ignore[no-untyped-def]
    """Take in a session's end: a new peak, or a fall below it; of equal falls the first counts."""
    if equity >= summary.peak:
        if summary.fall < 0 and summary.recovered == 0:
            summary.recovered = 1
            summary.recovery_ts = summary.ts
            summary.recovery_period = summary.periods
        summary.peak = equity
        summary.peak_ts = summary.ts
        summary.peak_period = summary.periods
        return
    fall = (equity - summary.peak) / summary.peak
    if fall < summary.fall:
        summary.fall = fall
        summary.fall_peak_ts = summary.peak_ts
        summary.fall_peak_period = summary.peak_period
        summary.trough_ts = summary.ts
        summary.recovered = 0


@njit(cache=True)
def _observe_trade(summary, pnl, held):  # type: ignore[no-untyped-def]
    if summary.trades == 0 or pnl > summary.best:
        summary.best = pnl
    if summary.trades == 0 or pnl < summary.worst:
        summary.worst = pnl
    summary.trades += 1
    summary.held_high, summary.held_low = add_exact(summary.held_high, summary.held_low, held)
    if pnl > 0:
        summary.wins += 1
        summary.won_high, summary.won_low = add_exact(summary.won_high, summary.won_low, pnl)
    elif pnl < 0:
        summary.losses += 1
        summary.lost_high, summary.lost_low = add_exact(summary.lost_high, summary.lost_low, pnl)


def exact(summary: np.void, name: str) -> int:
    """Return one of a summary's exact sums: equities, commissions, traded, won, lost or held."""
    return joined(int(summary[f"{name}_high"]), int(summary[f"{name}_low"]))


def total(summary: np.void, name: str) -> float:
    """Return one of a summary's sums of floats: exposure, returns, excess, squares or downside."""
    return float(summary[name]) + float(summary[f"{name}_rest"])
