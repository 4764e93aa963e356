"""The numbers behind the charts: buy and hold, monthly returns, and thinning of long lines."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray


def buy_and_hold(prices: pd.DataFrame, ts: pd.DatetimeIndex, cash: float) -> NDArray[np.float64]:
    """Return the value at times `ts` of equal parts of `cash` held in every symbol of `prices`.

    Each part buys at its symbol's first close and is cash until then; a symbol without a bar keeps
    its last close. There are no costs, and prices are taken as they are.
    """
    closes = prices.pivot(index="ts", columns="symbol", values="close").sort_index()
    growth = closes.ffill() / closes.bfill().iloc[0]
    held = growth.reindex(growth.index.union(ts)).ffill().fillna(1.0)
    return cash * held.loc[ts].mean(axis="columns").to_numpy(np.float64)


def monthly_returns(equity: pd.Series, initial: float) -> pd.DataFrame:
    """Return the simple return of each month, rows years, columns 1 to 12 and `year`.

    `equity` is indexed by UTC time; the first month is measured against `initial`. Months without
    a value, and those after equity of zero or less, are NaN.
    """
    index = pd.DatetimeIndex(equity.index).tz_localize(None)
    last = equity.groupby(index.to_period("M")).last()
    table = _growth(last, initial)
    months = pd.PeriodIndex(table.index)
    wide = pd.DataFrame({"y": months.year, "m": months.month, "r": table.to_numpy()})
    wide = wide.pivot(index="y", columns="m", values="r").reindex(columns=range(1, 13))
    wide["year"] = _growth(equity.groupby(index.year).last(), initial)
    return wide


def _growth(last: pd.Series, initial: float) -> pd.Series:
    before = last.shift(fill_value=initial)
    return (last / before - 1).where(before > 0)


def thin(values: NDArray[np.float64], limit: int) -> NDArray[np.intp]:
    """Return ascending indices of at most `limit` (≥ 4) points that keep the line's shape.

    Of each stretch the lowest and the highest value stay, and the first and the last of all.
    """
    if len(values) <= limit:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), (limit - 2) // 2 + 1).astype(np.intp)
    indices = [0, len(values) - 1]
    for start, end in pairwise(edges):
        stretch = values[start:end]
        indices += [start + int(stretch.argmin()), start + int(stretch.argmax())]
    return np.unique(np.array(indices, np.intp))
