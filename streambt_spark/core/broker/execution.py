"""Execution: the working orders of one slice, each quoted, paid for and posted, or rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import njit

from streambt_spark.core.broker.funds import AFFORDED, afford, cost_of, fitting, shorts_beside
from streambt_spark.core.broker.matching import quote
from streambt_spark.core.broker.orders import is_working
from streambt_spark.core.broker.posting import close_order, post_fill, post_reject
from streambt_spark.core.broker.sizing import Sizing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streambt_spark.core.broker.matching import Market
    from streambt_spark.core.records import Record, Records

_ALL_IN = int(Sizing.ALL_IN)


@njit(cache=True, inline="always")
def match_slice(
    market: Market,
    t: int,
    terms: Record,
    sizing: Record,
    traded: Records,
    fees: NDArray[np.float64],
    account: Record,
    positions: Records,
    orders: Records,
    tape: Records,
    n: int,
) -> int:
    """Match the working orders of a slice: exits, then the others; return the number of events.

    A reversal that is not paid for as a whole is an exit and an entry: the exit fills at once, the
    rest is an order among the others, which fills or is rejected by itself.
    """
    for exits in (True, False):
        for i in range(account.orders):
            order = orders[i]
            exit_ = positions[order.symbol].lots * order.side < 0
            present = market.present[t, order.symbol]
            if is_working(order) and present and (exit_ or not exits):
                n = _execute(
                    market, t, exits, order, terms, sizing, traded, fees, account, positions,
                    tape, n,
                )  # fmt: skip
    return n


@njit(cache=True, inline="always")
def _execute(
    market: Market,
    t: int,
    exits: bool,
    order: Record,
    terms: Record,
    sizing: Record,
    traded: Records,
    fees: NDArray[np.float64],
    account: Record,
    positions: Records,
    tape: Records,
    n: int,
) -> int:
    """Fill an order at its symbol's bar, reject it or let it work on; return the events."""
    s = order.symbol
    position, instrument = positions[s], traded[s]
    price, lots = quote(market, t, order, terms, instrument)
    if lots == 0:
        return n
    ts, held = market.ts[t], position.lots
    shorts = 0 if account.shorts == 0 else shorts_beside(s, positions, terms, traded)
    rules = (price, shorts, account, position, terms, instrument, fees)
    reason = afford(lots, *rules)
    reverses = held * lots < 0 and abs(lots) > abs(held)
    if reason != AFFORDED and reverses and afford(-held, *rules) == AFFORDED:
        n = _fill(tape, n, ts, order, -held, price, account, position, terms, instrument, fees)
        if exits:
            return n
        lots += held
        reason = afford(lots, *rules)
    takes_what_fits = reason != AFFORDED and sizing.code == _ALL_IN
    if takes_what_fits:
        fits = fitting(lots, *rules)
        if fits != 0:
            reason, lots = AFFORDED, fits
    if reason != AFFORDED:
        return post_reject(tape, n, ts, order, price, reason, account, position, terms, instrument)
    n = _fill(tape, n, ts, order, lots, price, account, position, terms, instrument, fees)
    if takes_what_fits or order.filled == order.lots:
        close_order(order, position)
    return n


@njit(cache=True, inline="always")
def _fill(
    tape: Records,
    n: int,
    ts: int,
    order: Record,
    lots: int,
    price: float,
    account: Record,
    position: Record,
    terms: Record,
    traded: Record,
    fees: NDArray[np.float64],
) -> int:
    _, amount, fee = cost_of(lots, price, terms, traded, fees)
    return post_fill(
        tape, n, ts, order, lots, price, amount, fee, account, position, terms, traded
    )  # fmt: skip
