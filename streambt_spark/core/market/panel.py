"""Panels: consecutive slices side by side, time by symbol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.market.bars import FIELDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.market.rows import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """T consecutive slices of S symbols: float64[T, S] with NaN where `present` is False."""

    symbols: tuple[str, ...]
    ts: NDArray[np.int64]
    present: NDArray[np.bool_]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    @property
    def complete(self) -> bool:
        """Whether every symbol has a bar in every slice."""
        return bool(self.present.all())

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one of COLUMNS, float64[T, S] with NaN where there is no bar."""
        if name == "ts":
            return np.where(self.present, self.ts[:, None].astype(np.float64), np.nan)
        column: NDArray[np.float64] = getattr(self, name)
        return column


def panel_of(bars: Rows, symbols: tuple[str, ...]) -> Panel:
    """Return bars ordered by (ts, symbol), each key once, as slices."""
    count = len(symbols)
    first = np.empty(len(bars), bool)
    first[:1] = True
    np.not_equal(bars.ts[1:], bars.ts[:-1], out=first[1:])
    ts = bars.ts[first]
    if len(bars) == len(ts) * count:
        # Every symbol in every slice: the ordered bars already are the panel.
        dense = [np.ascontiguousarray(bars.column(name)).reshape(len(ts), count) for name in FIELDS]
        return Panel(symbols, ts, np.ones((len(ts), count), bool), *dense)
    at = np.cumsum(first) - 1
    present = np.zeros((len(ts), count), bool)
    present[at, bars.code] = True
    sparse = []
    for name in FIELDS:
        column = np.full((len(ts), count), np.nan)
        column[at, bars.code] = bars.column(name)
        sparse.append(column)
    return Panel(symbols, ts, present, *sparse)
