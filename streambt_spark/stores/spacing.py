"""How far apart a source's bars are, and whether that fits the interval they are said to have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.market.bars import DAY_US, SECOND_US, grid_us, interval_us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SAMPLE_ROWS = 200_000
_FEWEST_GAPS = 5
_EVEN = 0.9
"""The share of gaps, and of times on a grid, from which on bars count as evenly spaced."""

_NEAR = (0.75, 1.5)
"""The median gap over the interval, between which they fit: a month has 28 to 31 days."""

_USUAL_S = (1, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 10_800,
            14_400, 21_600, 28_800, 43_200)  # fmt: skip
_UNITS = (("w", 7 * DAY_US), ("d", DAY_US), ("h", 3_600 * SECOND_US), ("m", 60 * SECOND_US))


@dataclass(slots=True)
class Spacing:
    """The times of a source's first rows, by symbol."""

    _parts: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    _rows: int = 0

    def add(self, symbols: Sequence[str], code: NDArray[np.int32], ts: NDArray[np.int64]) -> None:
        """Take more rows in; `code` points into `symbols`, `ts` is UTC microseconds."""
        room = _SAMPLE_ROWS - self._rows
        if room <= 0:
            return
        code, ts = code[:room], ts[:room]
        self._rows += len(ts)
        order = np.argsort(code, kind="stable")
        cuts = np.searchsorted(code[order], np.arange(len(symbols) + 1))
        for at, symbol in enumerate(symbols):
            if cuts[at] < cuts[at + 1]:
                self._parts.setdefault(symbol, []).append(ts[order[cuts[at] : cuts[at + 1]]])

    def misfit(self, interval: str) -> str:
        """Return what does not fit, and which interval would; empty where it fits or is unknown.

        The symbol with the most bars is looked at, by its median gap, so that nights, weekends and
        holidays do not count. A gap longer than the interval is one only where the bars are evenly
        spaced: those of a symbol that trades now and then are not.
        """
        times = {symbol: np.unique(np.concatenate(ts)) for symbol, ts in self._parts.items()}
        symbol = max(times, key=lambda name: len(times[name]), default="")
        gaps = np.diff(times[symbol]) if symbol else np.empty(0, np.int64)
        if len(gaps) < _FEWEST_GAPS:
            return ""
        median, step = int(np.median(gaps)), interval_us(interval)
        even = float(np.mean(gaps >= _NEAR[0] * median)) >= _EVEN
        days = _days(median)
        fitting = days * DAY_US if days else _fitting(times[symbol], median)
        if median >= _NEAR[0] * step and not (even and fitting >= _NEAR[1] * step):
            return ""
        if days and not _on_grid(times[symbol], DAY_US):
            advice = f"map their time as the trading day, session=…, and give {_text(fitting)}"
        else:
            advice = f"give --interval {_text(fitting)}, or bars of that interval"
        return (
            f"the bars of {symbol} are {_text(median)} apart (the median of {len(gaps):,} gaps), "
            f"the interval given is {interval}: {advice}"
        )


def _days(median: int) -> int:
    """Return how many days bars that far apart are of; 0 for other bars."""
    days = round(median / DAY_US)
    return days if abs(median - days * DAY_US) <= 0.1 * days * DAY_US else 0


def _fitting(ts: NDArray[np.int64], median: int) -> int:
    """Return the longest usual interval up to the median gap on whose grid the times are."""
    usual = sorted({*(s * SECOND_US for s in _USUAL_S), median}, reverse=True)
    return next((u for u in usual if u <= median and _on_grid(ts, u)), SECOND_US)


def _on_grid(ts: NDArray[np.int64], length: int) -> bool:
    return float(np.mean(ts % grid_us(length) == 0)) >= _EVEN


def _text(length: int) -> str:
    """Return a length of time as an interval: 90 minutes are 90m, a day is 1d."""
    name, unit = next(((n, u) for n, u in _UNITS if length % u == 0), ("s", SECOND_US))
    return f"{max(1, round(length / unit))}{name}"
