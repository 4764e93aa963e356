"""When the slices of a replay are due: exact by event time or by bars, and no clock in the data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark.core.market.bars import SECOND_US
from streambt_spark.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from streambt_spark.stores.lake import Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The slices of a replay: N distinct times, and the bars before each.

    `ts` is int64[N], ascending UTC microseconds; `bars_before` is int64[N + 1], its last element
    the number of all bars.
    """

    ts: NDArray[np.int64]
    bars_before: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ts)

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        start: int | None = None,
        end: int | None = None,
        symbols: Collection[str] | None = None,
    ) -> Timeline:
        """Return the slices of a snapshot's bars of these symbols with start ≤ ts < end (UTC µs).

        Reads the time column alone, one batch at a time, whatever the order of the rows.
        """
        times, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for batch in snapshot.read(start, end, symbols, ["ts"]):
            # to_numpy() would load pandas, which the source has no other use for.
            ts: NDArray[Any] = np.from_dlpack(batch["ts"].cast("int64"))
            first = np.flatnonzero(np.concatenate(([True], ts[1:] != ts[:-1])))
            times.append(ts[first])
            counts.append(np.diff(first, append=len(ts)))
        distinct, at = np.unique(np.concatenate(times), return_inverse=True)
        bars = np.zeros(len(distinct) + 1, np.int64)
        np.add.at(bars, at + 1, np.concatenate(counts))
        return cls(distinct, np.cumsum(bars))

    def split(self, first: int, last: int, parts: int) -> list[tuple[int, int]]:
        """Return at most `parts` consecutive ranges of the slices [first, last), alike in bars."""
        bars = self.bars_before[first : last + 1]
        targets = np.linspace(bars[0], bars[-1], parts + 1)[1:-1]
        inner = first + np.searchsorted(bars, targets)
        edges = np.unique(np.concatenate(([first], inner, [last])))
        return [(int(a), int(b)) for a, b in pairwise(edges)]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a replay goes: event seconds or bars per second of wall time; neither is no limit.

    Raises ConfigError where a rate is negative or not finite, or both are given.
    """

    speed: float = 0.0
    bars_per_second: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("speed", self.speed), ("bars_per_second", self.bars_per_second)):
            if not (np.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value}; write a number above 0, or 0 for no limit")
        if self.speed and self.bars_per_second:
            raise ConfigError("speed and bars_per_second are both given; choose one of them")

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self.speed or self.bars_per_second)

    def due_at(self, timeline: Timeline) -> NDArray[np.float64]:
        """Return for each slice the wall seconds from the first slice's to its own release."""
        if self.speed:
            return (timeline.ts - timeline.ts[:1]) / (SECOND_US * self.speed)
        if self.bars_per_second:
            return timeline.bars_before[:-1] / self.bars_per_second
        return np.zeros(len(timeline))


def due_slices(due_at: NDArray[np.float64], elapsed: float, first: int = 0) -> int:
    """Return how many slices are due `elapsed` seconds after slice `first` was released."""
    if first >= len(due_at):
        return len(due_at)
    return int(np.searchsorted(due_at, due_at[first] + elapsed, side="right"))


def seconds_until(due_at: NDArray[np.float64], index: int, elapsed: float, first: int = 0) -> float:
    """Return the seconds from `elapsed` to the release of slice `index`, 0 where it is due."""
    return max(0.0, float(due_at[index] - due_at[first]) - elapsed)
