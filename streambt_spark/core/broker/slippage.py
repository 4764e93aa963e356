"""Slippage: how much worse than the quoted price an order fills."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import IntEnum

from numba import njit

from streambt_spark.core.broker.money import EPSILON, MOST_VALUE
from streambt_spark.errors import BadParameter

_TEXT = re.compile(r"^(\d+(?:\.\d*)?|\.\d+)\s*(%|ticks?)$")


class SlippageKind(IntEnum):
    """How `Slippage.amount` is read."""

    NONE = 0
    TICKS = 1
    PERCENT = 2


@dataclass(frozen=True, slots=True)
class Slippage:
    """A price made worse by a number of ticks or a percentage, then rounded to the tick.

    It is rounded away from the trader, a purchase up and a sale down, so it is never better than
    without slippage; where the instrument has no tick it is not rounded. The price stays inside the
    bar that fills the order unless `outside_bar` is set: nobody traded there.
    """

    kind: SlippageKind = SlippageKind.NONE
    amount: float = 0.0
    outside_bar: bool = False


def parse(value: object) -> Slippage:
    """Return the Slippage that 'none', 'N ticks' or 'X%' describes.

    Raises BadParameter for anything else.
    """
    if isinstance(value, Slippage):
        return value
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "none", "0")):
        return Slippage()
    match = _TEXT.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise BadParameter(
            f"slippage {value!r} is not understood; write 'none', '2 ticks' or '0.05%'"
        )
    kind = SlippageKind.PERCENT if match[2] == "%" else SlippageKind.TICKS
    return Slippage(kind, float(match[1]))


@njit(cache=True, inline="always")
def slip(
    price: float,
    sign: int,
    low: float,
    high: float,
    kind: int,
    amount: float,
    outside_bar: bool,
    tick_num: int,
    tick_den: int,
) -> float:
    """Return the price after slippage; `sign` is +1 for a buy and -1 for a sell.

    `tick_den` is 0 where the price has no tick.
    """
    if kind == 0 or amount == 0.0:
        return price
    if kind == 1:
        worse = price + sign * amount * tick_num / tick_den
    else:
        worse = price * (1.0 + sign * amount / 100.0)
    if tick_den != 0:
        worse = _away(worse, sign, tick_num, tick_den)
    worse = max(worse, price) if sign > 0 else min(worse, price)
    if outside_bar:
        return max(worse, 0.0) if price > 0.0 else worse
    return min(max(worse, low), high)


@njit(cache=True, inline="always")
def _away(price: float, sign: int, tick_num: int, tick_den: int) -> float:
    """Return the nearest tick that is not better for the trader.

    A few units in the last place beyond a tick are that tick.
    """
    ticks = price * tick_den / tick_num
    if not abs(ticks) < MOST_VALUE:
        return price
    slack = max(1e-9, 4.0 * EPSILON * abs(ticks))
    whole = math.ceil(ticks - slack) if sign > 0 else math.floor(ticks + slack)
    return whole * tick_num / tick_den
