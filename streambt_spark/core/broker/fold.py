"""The fold of one account over slices, compiled.

For every slice, in this order:

1. Working orders are matched: those that reduce a position first, so that their cash is there for
   the others, then by order id.
2. Positions are marked at the close and the equity is recorded.
3. The allocation sees this portfolio and asks for targets; the order is what is missing to the
   target after the position and the orders still working.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from streambt_spark.core.broker.execution import match_slice
from streambt_spark.core.broker.matching import Market
from streambt_spark.core.broker.orders import drop_ended
from streambt_spark.core.broker.placing import allocate_slice, note, place
from streambt_spark.core.broker.posting import post_disabled, post_start
from streambt_spark.core.broker.sizing import FUNCTION
from streambt_spark.core.broker.valuation import value_slice
from streambt_spark.core.ledger.fields import REASONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.records import Record, Records

_RAISED = REASONS.index("allocation_raised")
_NAN = float("nan")


@njit(cache=True, nogil=True)
def fold(
    market: Market,
    strength: NDArray[np.float64],
    start: int,
    terms: Records,
    sizing: Records,
    traded: Records,
    fees: NDArray[np.float64],
    accounts: Records,
    positions: Records,
    orders: Records,
    tape: Records,
) -> tuple[int, int, bool]:
    """Fold slices from `start` while the tape and the order book have room.

    Returns the next slice, the number of events, and whether the last slice wants a user's
    allocation: then it is to be asked before the fold goes on.
    """
    total, symbols = strength.shape
    account, settings, sized = accounts[0], terms[0], sizing[0]
    buys, sells = np.empty(symbols, np.bool_), np.empty(symbols, np.bool_)
    scale = np.empty(symbols)
    for s in range(symbols):
        note(s, positions[s], sized, settings, traded[s], buys, sells, scale)
    n = 0
    t = start
    while t < total and _has_room(n, len(tape), account.orders, len(orders), symbols):
        if account.started == 0:
            n = _start(market.ts[t], settings, traded, account, positions, orders, tape, n)
        if account.orders > 0:
            n = match_slice(
                market, t, settings, sized, traded, fees, account, positions, orders, tape, n
            )
            for i in range(account.orders):
                s = orders[i].symbol
                note(s, positions[s], sized, settings, traded[s], buys, sells, scale)
            account.orders = drop_ended(orders, account.orders)
        n = value_slice(market, t, settings, account, positions, scale, tape, n)
        if account.disabled == 0:
            if sized.code != FUNCTION:
                n = allocate_slice(
                    market, t, strength, settings, sized, traded, account, positions, orders,
                    buys, sells, scale, tape, n,
                )  # fmt: skip
            elif _wants(market.present[t], strength[t]):
                return t + 1, n, True
        t += 1
    return t, n, False


@njit(cache=True, inline="always")
def _has_room(n: int, room: int, orders: int, places: int, symbols: int) -> bool:
    """Return whether one more slice fits: it places two orders a symbol, if it is the first.

    An order makes up to two events when it is matched, and one when it is placed.
    """
    return n + 2 * orders + 4 * symbols + 4 <= room and orders + 2 * symbols <= places


@njit(cache=True, inline="always")
def _wants(present: NDArray[np.bool_], strength: NDArray[np.float64]) -> bool:
    """Return whether any pulse of a slice asks for something."""
    for s in range(len(present)):  # noqa: SIM110 - compiled
        if present[s] and (strength[s] > 0.0 or strength[s] < 0.0):
            return True
    return False


@njit(cache=True)
def _start(
    ts: int,
    terms: Record,
    traded: Records,
    account: Record,
    positions: Records,
    orders: Records,
    tape: Records,
    n: int,
) -> int:
    """Begin with the first slice: the start cash and the opening orders; return the events."""
    n = post_start(tape, n, ts, account, terms)
    for s in range(len(traded)):
        lots = traded[s].opening
        if lots != 0:  # no close was seen when it was decided
            n = place(s, lots, _NAN, ts, terms, traded[s], account, positions[s], orders, tape, n)
    return n


@njit(cache=True)
def disable(accounts: Records, terms: Records, ts: int, text: int, tape: Records) -> int:
    """Disable an account whose allocation raised what a text says; return the events."""
    return post_disabled(tape, 0, ts, _RAISED, text, accounts[0], terms[0])
