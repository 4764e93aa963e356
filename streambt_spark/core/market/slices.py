"""Slices: all bars of a universe at one time, released in order once they are complete.

Rows arrive in any order and in any portions. Slice t is released when every symbol has shown a bar
at t or later, or said by a heartbeat or an end marker that it has none left up to t. So the slices
of symbols that each arrive in order never depend on how the rows were batched or interleaved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.market.bars import FIELDS
from streambt_spark.core.market.faults import FAULTS, Reason, fault_codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.market.bars import Bars

NEVER = np.iinfo(np.int64).min
ENDED = np.iinfo(np.int64).max


class Mark(IntEnum):
    """What a row of the stream says; the name in lower case is what it is called there."""

    BAR = 0
    HEARTBEAT = 1
    END = 2


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """N rows of the stream.

    `code` is -1 for 'every symbol' (a mark) or an unknown one (a bar); `fault` is a code into
    FAULTS, 0 for a row that may be used.
    """

    code: NDArray[np.int32]
    ts: NDArray[np.int64]
    seq: NDArray[np.int64]
    mark: NDArray[np.int8]
    fault: NDArray[np.int8]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Rows:
        """Return the rows that a NumPy index, mask or slice selects."""
        return Rows(*(getattr(self, name)[index] for name in self.__slots__))

    def where(self, mask: NDArray[np.bool_]) -> Rows:
        """Return the rows where `mask` is True; itself, uncopied, where it is True everywhere."""
        return self if mask.all() else self.take(mask)

    @classmethod
    def concat(cls, *parts: Rows) -> Rows:
        """Return the rows of all parts, in order."""
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in cls.__slots__))

    @classmethod
    def none(cls) -> Rows:
        """Return no rows."""
        return rows_of_bars(None)


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


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """What is not released yet: `seen` is int64[S], the last time each symbol showed."""

    seen: NDArray[np.int64]
    released: int
    pending: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """What `advance` did with the rows: the slices to process, and those set aside."""

    panel: Panel
    read: int
    accepted: int
    late: Rows
    duplicate: Rows
    rejected: Rows


def open_buffer(symbols: int) -> Buffer:
    """Return a buffer that has seen nothing of `symbols` symbols."""
    return Buffer(np.full(symbols, NEVER, np.int64), NEVER, Rows.none())


def rows_of_bars(bars: Bars | None) -> Rows:
    """Return bars as rows of the stream (none for None)."""
    n = 0 if bars is None else len(bars)
    columns = [np.empty(0, np.float64)] * 5 if bars is None else [getattr(bars, f) for f in FIELDS]
    return Rows(
        np.empty(0, np.int32) if bars is None else bars.code,
        np.empty(0, np.int64) if bars is None else bars.ts,
        np.zeros(n, np.int64),
        np.zeros(n, np.int8),
        np.zeros(n, np.int8),
        *columns,
    )


def rows_of_mark(mark: Mark, ts: int) -> Rows:
    """Return one row that says something of every symbol."""
    zero = np.zeros(1)
    return Rows(
        np.full(1, -1, np.int32),
        np.full(1, ts, np.int64),
        np.zeros(1, np.int64),
        np.full(1, mark, np.int8),
        np.zeros(1, np.int8),
        *(zero,) * 5,
    )


def screen(rows: Rows, interval: str) -> Rows:
    """Return the rows with a fault set on each bar that is invalid or of no symbol."""
    fields = {name: getattr(rows, name) for name in FIELDS}
    faults = fault_codes(rows.ts, fields, interval)
    faults[rows.code < 0] = FAULTS.index(Reason.UNKNOWN_SYMBOL)
    faults[rows.mark != Mark.BAR] = 0
    return replace(rows, fault=np.where(rows.fault != 0, rows.fault, faults))


def advance(buffer: Buffer, rows: Rows, symbols: tuple[str, ...]) -> tuple[Buffer, Release]:
    """Take in rows and release the slices that are now complete.

    A row with a fault is rejected; a bar at or before the last released slice is late; a second
    bar of the same (symbol, ts) is a duplicate, the first to arrive stays (within one call: the
    lowest `seq`, then the lowest values). So the slices are the same for any calls over which each
    symbol's bars arrive in order; of bars out of order, the calls decide which are late.
    """
    sound = rows.fault == 0
    bars = (
        rows if sound.all() and not rows.mark.any() else rows.take(sound & (rows.mark == Mark.BAR))
    )
    on_time = bars.ts > buffer.released
    seen = _seen(buffer.seen, bars, rows)
    pending, duplicate = _merge(buffer.pending, bars.where(on_time), len(symbols))
    horizon = int(seen.min()) if len(seen) else NEVER
    due = int(np.searchsorted(pending.ts, horizon, side="right"))
    ready, rest = pending.take(slice(0, due)), pending.take(slice(due, None))
    released = max(buffer.released, int(ready.ts[-1])) if due else buffer.released
    release = Release(
        panel=_panel(ready, symbols),
        read=len(bars) + int((~sound).sum()),
        accepted=int(on_time.sum()) - len(duplicate),
        late=bars.take(~on_time),
        duplicate=duplicate,
        rejected=rows.take(~sound),
    )
    return Buffer(seen, released, rest), release


def has_ended(buffer: Buffer) -> bool:
    """Return whether every symbol has sent its end marker."""
    return bool((buffer.seen == ENDED).all())


def _seen(seen: NDArray[np.int64], bars: Rows, rows: Rows) -> NDArray[np.int64]:
    seen = seen.copy()
    np.maximum.at(seen, bars.code, bars.ts)
    for at in np.flatnonzero((rows.mark != Mark.BAR) & (rows.fault == 0)):
        until = ENDED if rows.mark[at] == Mark.END else rows.ts[at]
        whose = slice(None) if rows.code[at] < 0 else slice(rows.code[at], rows.code[at] + 1)
        np.maximum(seen[whose], until, out=seen[whose])
    return seen


def _merge(pending: Rows, new: Rows, symbols: int) -> tuple[Rows, Rows]:
    """Return all rows ordered by (ts, symbol), and the repeated ones."""
    merged = new if not len(pending) else Rows.concat(pending, new)
    key = _order(merged, symbols)
    if np.all(key[1:] > key[:-1]):
        return merged, Rows.none()
    # A stable sort of runs that are sorted already, which is how files arrive, is nearly free.
    order = np.argsort(key, kind="stable")
    key = key[order]
    if np.any(key[1:] == key[:-1]):
        # Of rows that differ in nothing else, the values decide, never the order they came in.
        arrival = np.arange(len(merged)) >= len(pending)
        values = tuple(getattr(merged, name) for name in FIELDS)
        order = np.lexsort((*values, merged.seq, arrival, merged.code, merged.ts))
    merged = merged.take(order)
    again = np.zeros(len(merged), bool)
    again[1:] = (merged.ts[1:] == merged.ts[:-1]) & (merged.code[1:] == merged.code[:-1])
    return merged.where(~again), merged.take(again)


def _order(rows: Rows, symbols: int) -> NDArray[np.int64]:
    """Return one number a row that orders rows by (ts, symbol).

    Times are counted from the first, in the unit that they share, so that the product fits int64.
    """
    if not len(rows):
        return rows.ts
    elapsed = rows.ts - rows.ts.min()
    unit = max(int(np.gcd.reduce(elapsed)), 1)
    if int(elapsed.max()) // unit >= ENDED // max(symbols, 1):
        elapsed, unit = np.unique(elapsed, return_inverse=True)[1].astype(np.int64), 1
    order: NDArray[np.int64] = elapsed // unit * symbols + rows.code
    return order


def _panel(rows: Rows, symbols: tuple[str, ...]) -> Panel:
    """Return sorted rows as slices."""
    count = len(symbols)
    first = np.ones(len(rows), bool)
    first[1:] = rows.ts[1:] != rows.ts[:-1]
    ts = rows.ts[first]
    if len(rows) == len(ts) * count:
        # Every symbol in every slice: the sorted rows already are the panel.
        dense = [
            np.ascontiguousarray(getattr(rows, name)).reshape(len(ts), count) for name in FIELDS
        ]
        return Panel(symbols, ts, np.ones((len(ts), count), bool), *dense)
    at = np.cumsum(first) - 1
    present = np.zeros((len(ts), count), bool)
    present[at, rows.code] = True
    sparse = []
    for name in FIELDS:
        column = np.full((len(ts), count), np.nan)
        column[at, rows.code] = getattr(rows, name)
        sparse.append(column)
    return Panel(symbols, ts, present, *sparse)
