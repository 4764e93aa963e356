"""Funds: what a fill costs, and whether an account can pay for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import njit

from streambt_spark.core.amounts import MOST_CASH
from streambt_spark.core.broker.costs import charge
from streambt_spark.core.ledger.fields import REASONS
from streambt_spark.core.rounding import round_minor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streambt_spark.core.records import Record, Records

AFFORDED = 0
NO_CASH, NO_COLLATERAL, QUANTITY_TOO_LARGE, VALUE_TOO_LARGE = (
    REASONS.index(text)
    for text in (
        "insufficient_cash",
        "insufficient_collateral",
        "quantity_too_large",
        "value_too_large",
    )
)


@njit(cache=True)
def cost_of(
    lots: int, price: float, terms: Record, traded: Record, fees: NDArray[np.float64]
) -> tuple[bool, int, int]:
    """Return whether a fill's amounts can be counted, what it changes the cash by, and its fee.

    In minor units; lots and the change are below zero for a sale and a purchase.
    """
    quantity = abs(lots) * traded.lot_num / traded.lot_den
    value = quantity * price * traded.multiplier
    fee = charge(fees, 0 if lots > 0 else 1, abs(value), quantity) * terms.minor
    gross = value * terms.minor
    if not (abs(gross) < terms.most_value and abs(fee) < terms.most_value):
        return False, 0, 0
    cents = round_minor(fee)
    worth = round_minor(gross)
    return True, (-worth if lots > 0 else worth) - cents, cents


@njit(cache=True, inline="always")
def worth_of(lots: int, price: float, terms: Record, traded: Record) -> float:
    """Return the value of a position in minor units, not rounded."""
    return float(lots * traded.unit * price * terms.minor)


@njit(cache=True)
def shorts_beside(symbol: int, positions: Records, terms: Record, traded: Records) -> int:
    """Return the value of the short positions of the other symbols, at their marks."""
    total = 0
    for k in range(len(positions)):
        position = positions[k]
        if position.lots < 0 and k != symbol:
            total -= round_minor(worth_of(position.lots, position.mark, terms, traded[k]))
    return total


@njit(cache=True)
def afford(
    lots: int,
    price: float,
    shorts: int,
    account: Record,
    position: Record,
    terms: Record,
    traded: Record,
    fees: NDArray[np.float64],
) -> int:
    """Return AFFORDED, or the reason why a fill is not.

    What only reduces a position needs no free cash: risk must not be locked in by a lack of it.
    Everything else must be paid by the cash less twice the value of the short positions, whose
    proceeds are locked and matched by as much collateral: the symbol's own at the fill's price, and
    `shorts`, those of the others. No amount may be too large to be counted.
    """
    held = position.lots
    after = held + lots
    if not abs(after) <= traded.most_lots:
        return QUANTITY_TOO_LARGE
    countable, amount, _ = cost_of(lots, price, terms, traded, fees)
    worth = worth_of(after, price, terms, traded)
    cash = account.cash[0] + amount
    if not (countable and abs(worth) < terms.most_value and abs(cash) < MOST_CASH):
        return VALUE_TOO_LARGE
    if held * lots < 0 and after * lots <= 0:
        return AFFORDED
    if after < 0:
        shorts -= round_minor(worth)
    # Of 1,000 in cash, 60 sold short at 10 leave 1,600, of which 600 are their proceeds and 600 the
    # collateral: 400 are free. 110 sold short leave 2,100, less twice 1,100: 100 are missing.
    if cash - shorts >= shorts:
        return AFFORDED
    return NO_CASH if lots > 0 else NO_COLLATERAL


@njit(cache=True)
def fitting(
    lots: int,
    price: float,
    shorts: int,
    account: Record,
    position: Record,
    terms: Record,
    traded: Record,
    fees: NDArray[np.float64],
) -> int:
    """Return the most lots of a fill, which is not afforded as a whole, that are; 0 for none."""
    sign = 1 if lots > 0 else -1
    fits, exceeds = 0, abs(lots)
    while exceeds - fits > 1:
        middle = (fits + exceeds) // 2
        part = sign * middle
        if afford(part, price, shorts, account, position, terms, traded, fees) == AFFORDED:
            fits = middle
        else:
            exceeds = middle
    return sign * fits
