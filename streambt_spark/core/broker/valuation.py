"""Valuation: what an account is worth at the closes of a slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import njit

from streambt_spark.core.broker.funds import VALUE_TOO_LARGE
from streambt_spark.core.broker.posting import post_disabled, post_equity
from streambt_spark.core.rounding import round_minor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streambt_spark.core.broker.matching import Market
    from streambt_spark.core.records import Record, Records

_NO_TEXT = -1


@njit(cache=True, inline="always")
def value_slice(
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
    n = post_equity(tape, n, market.ts[t], total, exposure, account, terms)
    if not believed and account.disabled == 0:
        n = post_disabled(tape, n, market.ts[t], VALUE_TOO_LARGE, _NO_TEXT, account, terms)
    return n
