"""Placing: from the targets of an allocation to the orders that are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import njit

from streambt_spark.core.broker.funds import QUANTITY_TOO_LARGE, worth_of
from streambt_spark.core.broker.orders import write_market_order
from streambt_spark.core.broker.posting import post_order, post_refusal
from streambt_spark.core.broker.sizing import asks, target_of
from streambt_spark.core.ledger.fields import REASONS
from streambt_spark.core.rounding import whole_lots

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streambt_spark.core.broker.matching import Market
    from streambt_spark.core.records import Record, Records

_NO_SHORT = REASONS.index("short_not_allowed")
_NAN = float("nan")


@njit(cache=True, inline="always")
def note(
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
def allocate_slice(
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
        note(s, position, sizing, terms, instrument, buys, sells, scale)
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
        return post_refusal(
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
    after = position.lots + position.working + lots
    if lots < 0 and after < 0 and terms.allow_short == 0:
        quantity = -lots * traded.lot_num / traded.lot_den
        return post_refusal(tape, n, ts, s, side, quantity, price, _NO_SHORT, account, terms)
    if abs(lots) > traded.most_lots:
        return post_refusal(
            tape, n, ts, s, side, _NAN, price, QUANTITY_TOO_LARGE, account, terms
        )  # fmt: skip
    order = orders[account.orders]
    write_market_order(order, s, lots, ts)
    return post_order(tape, n, order, price, account, position, terms, traded)
