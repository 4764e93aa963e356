"""What a fill costs beside its price: slippage and commission, compiled.

The schemes are described in `slippage` and `commission`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from numba import njit

from streambt_spark.core.amounts import EPSILON, MOST_VALUE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@njit(cache=True)
def charge(table: NDArray[np.float64], side: int, value: float, quantity: float) -> float:
    """Return the commission in currency units of a fill (side 0 buy, 1 sell) worth `value`."""
    k = 0
    # The value is a product of decimals: a few units in the last place below a bound is on it.
    while value * (1.0 + 4.0 * EPSILON) >= table[side, k, 0]:
        k += 1
    fee = table[side, k, 1] + table[side, k, 2] * value + table[side, k, 3] * quantity
    fee = max(fee, table[side, k, 4])
    fee = min(fee, table[side, k, 5])
    return float(min(fee, table[side, k, 6] * value))


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
