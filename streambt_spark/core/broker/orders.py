"""Orders: one record each, with room for every type of order.

An account's orders stand in one array in the order of their ids, so of their making.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from streambt_spark.core.records import record_of

if TYPE_CHECKING:
    from streambt_spark.core.records import Record, Records


class OrderType(IntEnum):
    """What makes an order fill. Market orders only are filled yet."""

    MARKET = 0
    LIMIT = 1
    STOP = 2
    STOP_LIMIT = 3
    TRAILING_STOP = 4


class TimeInForce(IntEnum):
    """How long an order works."""

    GOOD_TILL_CANCELLED = 0
    DAY = 1
    GOOD_TILL_DATE = 2
    IMMEDIATE_OR_CANCEL = 3
    FILL_OR_KILL = 4


class Flag(IntEnum):
    """What else is known of an order, a bit each."""

    ENDED = 1
    """It works no longer, and is dropped after the slice."""
    TRIGGERED = 2
    """Its stop was reached."""
    REDUCE_ONLY = 4
    """It must not open a position."""


ORDER = record_of(
    ("id", "i8"),
    ("lots", "i8"),  # ordered, positive
    ("filled", "i8"),  # of them
    ("limit", "f8"),  # the prices are NaN where there are none
    ("stop", "f8"),
    ("trail", "f8"),
    ("trail_percent", "f8"),
    ("expires", "i8"),  # UTC microseconds, NO_TIME for never
    ("parent", "i8"),  # the order that must fill first, NO_ORDER for none
    ("group", "i8"),  # orders of one group cancel each other, NO_ORDER for none
    ("created", "i8"),  # the slice it was decided at, UTC microseconds
    ("symbol", "i4"),  # index into the universe
    ("flags", "i4"),  # of Flag
    ("side", "i1"),  # 1 buy, -1 sell
    ("type", "i1"),  # an OrderType
    ("time_in_force", "i1"),  # a TimeInForce
)
NO_ORDER = -1
NO_TIME = np.iinfo(np.int64).max

_ENDED, _MARKET, _GOOD_TILL_CANCELLED = (
    int(Flag.ENDED),
    int(OrderType.MARKET),
    int(TimeInForce.GOOD_TILL_CANCELLED),
)
_NAN = float("nan")


@njit(cache=True, inline="always")
def write_market_order(order: Record, symbol: int, lots: int, ts: int) -> None:
    """Write a market order, which has no id yet; `lots` is below zero for a sale."""
    order.id = NO_ORDER
    order.symbol = symbol
    order.side = 1 if lots > 0 else -1
    order.lots = abs(lots)
    order.filled = 0
    order.limit = order.stop = order.trail = order.trail_percent = _NAN
    order.expires = NO_TIME
    order.parent = order.group = NO_ORDER
    order.created = ts
    order.flags = 0
    order.type = _MARKET
    order.time_in_force = _GOOD_TILL_CANCELLED


@njit(cache=True, inline="always")
def is_working(order: Record) -> bool:
    """Return whether an order has not ended."""
    return bool((order.flags & _ENDED) == 0)


@njit(cache=True, inline="always")
def end(order: Record) -> None:
    """End an order, whatever became of it."""
    order.flags |= _ENDED


@njit(cache=True)
def drop_ended(orders: Records, count: int) -> int:
    """Drop the orders that have ended, keeping the order of the others; return their number."""
    length = 0
    for i in range(count):
        if is_working(orders[i]):
            if length != i:
                orders[length] = orders[i]
            length += 1
    return length
