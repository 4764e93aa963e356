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

from streambt_spark.core.broker.funds import (
    AFFORDED,
    QUANTITY_TOO_LARGE,
    VALUE_TOO_LARGE,
    afford,
    cost_of,
    fitting,
    shorts_beside,
    worth_of,
)
from streambt_spark.core.broker.matching import Market, quote
from streambt_spark.core.broker.money import round_minor, whole_lots
from streambt_spark.core.broker.orders import drop_ended, is_working, write_market_order
from streambt_spark.core.broker.posting import (
    close_order,
    post_disabled,
    post_equity,
    post_fill,
    post_order,
    post_reject,
    post_session,
    post_start,
)
from streambt_spark.core.broker.recording import Policy
from streambt_spark.core.broker.sizing import FUNCTION, Sizing, asks, target_of
from streambt_spark.core.ledger.fields import REASONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.broker.records import Record, Records

_EQUITY_ONLY = int(Policy.EQUITY)
_ALL_IN = int(Sizing.ALL_IN)
_NO_SHORT = REASONS.index("short_not_allowed")
_RAISED = REASONS.index("allocation_raised")
_NAN = float("nan")
_NO_TEXT = -1


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
        _note(s, positions[s], sized, settings, traded[s], buys, sells, scale)
    n = 0
    t = start
    while t < total and _has_room(n, len(tape), account.orders, len(orders), symbols):
        n = _begin_slice(market, t, settings, traded, account, positions, orders, tape, n)
        if account.orders > 0:
            n = _match(
                market, t, settings, sized, traded, fees, account, positions, orders, tape, n
            )
            for i in range(account.orders):
                s = orders[i].symbol
                _note(s, positions[s], sized, settings, traded[s], buys, sells, scale)
            account.orders = drop_ended(orders, account.orders)
        n = _value(market, t, settings, account, positions, scale, tape, n)
        if account.disabled == 0:
            if sized.code != FUNCTION:
                n = _allocate(
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
def _note(
    s: int,
    position: Record,
    sizing: Record,
    terms: Record,
    traded: Record,
    buys: NDArray[np.bool_],
    sells: NDArray[np.bool_],
    scale: NDArray[np.float64],
) -> None:
    """Note of a symbol what only changes with its position or its orders.

    That is which pulses would change it, for all others are passed over, and what the position is
    worth at a price of one, in minor units.
    """
    held = position.lots + position.working
    scale[s] = worth_of(position.lots, 1.0, terms, traded)
    buys[s] = asks(True, held, sizing, terms, traded)
    sells[s] = asks(False, held, sizing, terms, traded)


@njit(cache=True, inline="always")
def _wants(present: NDArray[np.bool_], strength: NDArray[np.float64]) -> bool:
    """Return whether any pulse of a slice asks for something."""
    for s in range(len(present)):  # noqa: SIM110 - compiled
        if present[s] and (strength[s] > 0.0 or strength[s] < 0.0):
            return True
    return False


@njit(cache=True, inline="always")
def _begin_slice(
    market: Market,
    t: int,
    terms: Record,
    traded: Records,
    account: Record,
    positions: Records,
    orders: Records,
    tape: Records,
    n: int,
) -> int:
    """Tell what the new slice ends or begins: a session, the run with its opening orders."""
    session = market.session[t]
    if account.started == 0:
        ts = market.ts[t]
        n = post_start(tape, n, ts, account, terms)
        for s in range(len(traded)):
            lots = traded[s].opening
            if lots != 0:  # no close was seen when it was decided
                n = place(
                    s, lots, _NAN, ts, terms, traded[s], account, positions[s], orders, tape, n
                )
    elif terms.policy == _EQUITY_ONLY and session != account.session:
        n = post_session(tape, n, account, terms)
    account.session = session
    return n


@njit(cache=True, inline="always")
def place(
    s: int,
    lots: int,
    price: float,
    ts: int,
    terms: Record,
    traded: Record,
    account: Record,
    position: Record,
    orders: Records,
    tape: Records,
    n: int,
) -> int:
    """Order some lots, below zero to sell, that were sized at a price; return the events."""
    side = 1 if lots > 0 else -1
    quantity = abs(lots) * traded.lot_num / traded.lot_den
    after = position.lots + position.working + lots
    reason = 0
    if lots < 0 and after < 0 and terms.allow_short == 0:
        reason = _NO_SHORT
    elif abs(lots) > traded.most_lots:
        reason, quantity = QUANTITY_TOO_LARGE, _NAN
    number = account.number
    n = post_order(tape, n, ts, s, side, quantity, price, reason, account, terms)
    if reason == 0:
        write_market_order(orders[account.orders], number, s, lots, ts)
        account.orders += 1
        position.working += lots
    return n


@njit(cache=True, inline="always")
def _match(
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
    """Fill or reject an order at its symbol's bar; return the number of events."""
    s = order.symbol
    position, instrument = positions[s], traded[s]
    price, lots = quote(market, t, order, terms, instrument)
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
    if reason != AFFORDED and sizing.code == _ALL_IN:
        fits = fitting(lots, *rules)
        if fits != 0:
            reason, lots = AFFORDED, fits
    if reason != AFFORDED:
        return post_reject(tape, n, ts, order, price, reason, account, position, terms, instrument)
    n = _fill(tape, n, ts, order, lots, price, account, position, terms, instrument, fees)
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


@njit(cache=True, inline="always")
def _value(
    market: Market,
    t: int,
    terms: Record,
    account: Record,
    positions: Records,
    scale: NDArray[np.float64],
    tape: Records,
    n: int,
) -> int:
    """Mark the positions at the close and post what the account is worth; return the events.

    A close at which a position is worth more than can be counted is not believed: the position
    keeps its mark, and the account is disabled.
    """
    total, exposure, believed = 0, 0, True
    most = float(terms.most_value)
    for s in range(len(scale)):
        if scale[s] == 0.0:
            continue
        if market.present[t, s]:
            if abs(scale[s] * market.close[t, s]) < most:
                positions[s].mark = market.close[t, s]
            else:
                believed = False
        worth = round_minor(scale[s] * positions[s].mark)
        total += worth
        exposure += abs(worth)
    n = post_equity(
        tape, n, market.ts[t], total, exposure, market.session[t], account, terms
    )  # fmt: skip
    if not believed and account.disabled == 0:
        n = post_disabled(tape, n, market.ts[t], VALUE_TOO_LARGE, _NO_TEXT, account, terms)
    return n


@njit(cache=True, inline="always")
def _allocate(
    market: Market,
    t: int,
    strength: NDArray[np.float64],
    terms: Record,
    sizing: Record,
    traded: Records,
    account: Record,
    positions: Records,
    orders: Records,
    buys: NDArray[np.bool_],
    sells: NDArray[np.bool_],
    scale: NDArray[np.float64],
    tape: Records,
    n: int,
) -> int:
    """Order what is missing to the targets of a built-in allocation; return the events."""
    equity = account.last_equity
    spendable = float(equity - account.last_exposure)
    for s in range(len(positions)):
        wish = strength[t, s]
        changes = ((wish > 0.0) & buys[s]) | ((wish < 0.0) & sells[s])
        if not changes or not market.present[t, s]:
            continue
        position, instrument, close = positions[s], traded[s], market.close[t, s]
        held = position.lots + position.working
        target, spendable = target_of(
            wish, held, close, equity, spendable, sizing, terms, instrument
        )
        n = aim(
            s, target, close, market.ts[t], terms, instrument, account, position, orders, tape, n
        )
        _note(s, position, sizing, terms, instrument, buys, sells, scale)
    return n


@njit(cache=True, inline="always")
def aim(
    s: int,
    target: float,
    close: float,
    ts: int,
    terms: Record,
    traded: Record,
    account: Record,
    position: Record,
    orders: Records,
    tape: Records,
    n: int,
) -> int:
    """Order what is missing to a target in lots, not yet whole; return the number of events."""
    if not abs(target) < traded.most_lots + 1:
        side = 1 if target > 0 else -1
        return post_order(
            tape, n, ts, s, side, _NAN, close, QUANTITY_TOO_LARGE, account, terms
        )  # fmt: skip
    lots = whole_lots(target) - position.lots - position.working
    if lots == 0:
        return n
    return place(s, lots, close, ts, terms, traded, account, position, orders, tape, n)


@njit(cache=True)
def aim_all(
    market: Market,
    t: int,
    targets: NDArray[np.float64],
    terms: Records,
    traded: Records,
    accounts: Records,
    positions: Records,
    orders: Records,
    tape: Records,
) -> int:
    """Order what is missing to a user's targets in lots, NaN for none; return the events."""
    n = 0
    for s in range(len(targets)):
        if targets[s] == targets[s]:
            n = aim(
                s, targets[s], market.close[t, s], market.ts[t], terms[0], traded[s], accounts[0],
                positions[s], orders, tape, n,
            )  # fmt: skip
    return n


@njit(cache=True)
def finish(accounts: Records, terms: Records, tape: Records) -> int:
    """Post what is only known at the end of the stream; return the number of events."""
    if terms[0].policy == _EQUITY_ONLY and accounts[0].started:
        return post_session(tape, 0, accounts[0], terms[0])
    return 0


@njit(cache=True)
def disable(accounts: Records, terms: Records, ts: int, text: int, tape: Records) -> int:
    """Disable an account whose allocation raised what a text says; return the events."""
    return post_disabled(tape, 0, ts, _RAISED, text, accounts[0], terms[0])
