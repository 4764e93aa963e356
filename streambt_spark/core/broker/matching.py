"""Matching: at which price, and for how many lots, an order fills at its symbol's bar.

A quote knows the whole bar, its volume too, and nothing of the account: whether the fill is paid
for is decided by `funds`, and what it changes by `posting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from numba import njit

from streambt_spark.core.broker.costs import slip
from streambt_spark.core.broker.slippage import SlippageKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streambt_spark.core.records import Record

_NONE = int(SlippageKind.NONE)


class Market(NamedTuple):
    """The slices of one step: float64[T, S] panels and int64[T] times."""

    ts: NDArray[np.int64]
    present: NDArray[np.bool_]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]


@njit(cache=True, inline="always")
def quote(
    market: Market, t: int, order: Record, terms: Record, traded: Record
) -> tuple[float, int]:
    """Return the price and the lots, below zero for a sale and 0 for none, that slice t offers.

    A market order fills at the open, worsened by slippage, as a whole: the bar's volume is no limit
    yet. What a quote does not need it does not read: each price of a bar lies in memory by itself.
    """
    price = market.open[t, order.symbol]
    if terms.slip_kind != _NONE:
        below_one = price < 1.0
        price = slip(
            price,
            order.side,
            market.low[t, order.symbol],
            market.high[t, order.symbol],
            terms.slip_kind,
            terms.slip_amount,
            terms.slip_outside,
            traded.low_tick_num if below_one else traded.tick_num,
            traded.low_tick_den if below_one else traded.tick_den,
        )
    return price, order.side * (order.lots - order.filled)
