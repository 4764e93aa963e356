"""Slices: all bars of a universe at one time, released in order once they are complete.

Rows arrive in any portions. Slice t is released when every symbol has shown a bar at t or later, or
said by a heartbeat or an end that it has none left up to t. What becomes of a row depends on the
rows before it in the stream alone, never on how the calls cut the stream:

* The rows of one call stand in the order of their place (`seq` or, without one, the time), then of
  time (an end's is after all others), bars before marks, symbol, values and `seq`. The calls must
  follow one another in that order; where they do not, their order is the stream's.
* A bar at or before the last slice released is *late*: it changes no slice. If it is after the last
  bar of its symbol so far, it still enters that symbol's history, so that features depend on the
  order of each symbol alone.
* Of bars with one (symbol, ts) that come before their slice is released, the one with the lowest
  `seq` stays (without numbers, the one with the lowest values): a stream cannot take back what it
  may have traded on. The others are *duplicates*: `repeated` where their values are equal,
  `conflicting` where not. Bars in a store are another matter: there a later row corrects an earlier
  one, and is called a revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streambt_spark.core.market.bars import FIELDS
from streambt_spark.core.market.fates import (
    BY_SLICE,
    DISORDERED,
    Fate,
    Stream,
    ascend,
    by_slice,
    decide,
    frozen,
)
from streambt_spark.core.market.faults import CODES, Reason
from streambt_spark.core.market.panel import Panel, panel_of
from streambt_spark.core.market.rows import HEADER, LAST, NULL, RowKind, Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEVER, ENDED = NULL, LAST
"""The time up to which a symbol has shown before its first row, and after its end."""

_PENDING = ("code", "ts", "seq", "known_at")


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """What is not released yet.

    For each symbol, `seen` is the time up to which it has shown all its bars, by bars or marks, and
    `shown` that of its last bar, late ones included (int64[S]). `released` is the time of the last
    slice; `pending` are the bars after it, ordered by (ts, symbol).
    """

    seen: NDArray[np.int64]
    shown: NDArray[np.int64]
    released: int
    pending: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """What `align` did with the rows: the slices to process, and the rows set aside.

    `read` counts the bars and the rejected rows: read == accepted + late + duplicate + rejected.
    `conflicting` tells for each duplicate whether its values are others; `history` are the late
    bars that are in the order of their symbol, ordered by (symbol, ts); `unsupported` are rows of
    kinds that change nothing yet.
    """

    panel: Panel
    read: int
    accepted: int
    late: Rows
    history: Rows
    duplicate: Rows
    conflicting: NDArray[np.bool_]
    rejected: Rows
    unsupported: Rows


def open_buffer(symbols: int) -> Buffer:
    """Return a buffer that has seen nothing of `symbols` symbols."""
    never = np.full(symbols, NEVER, np.int64)
    return Buffer(never, never.copy(), NEVER, Rows.none())


def encode_buffer(buffer: Buffer) -> dict[str, NDArray[Any]]:
    """Return the buffer as named arrays."""
    pending = buffer.pending
    return {
        "seen": buffer.seen,
        "shown": buffer.shown,
        "released": np.array([buffer.released], np.int64),
        **{name: getattr(pending, name) for name in _PENDING},
        **{name: pending.column(name) for name in FIELDS},
    }


def decode_buffer(arrays: Mapping[str, NDArray[Any]], symbols: int) -> Buffer:
    """Return the buffer that `encode_buffer` gave.

    Raises KeyError or ValueError where it is not one of so many symbols.
    """
    forms: dict[str, tuple[Any, int]] = dict.fromkeys(("seen", "shown"), (np.int64, symbols))
    forms["released"] = (np.int64, 1)
    pending = {**{name: HEADER[name] for name in _PENDING}, **dict.fromkeys(FIELDS, np.float64)}
    forms |= {name: (dtype, len(arrays["ts"])) for name, dtype in pending.items()}
    for name, (dtype, size) in forms.items():
        array = arrays[name]
        if array.dtype != dtype or array.shape != (size,):
            raise ValueError(f"{name} is {array.dtype}{array.shape}")
    code, ts, seq, known_at = (arrays[name] for name in _PENDING)
    kind, fault = np.zeros(len(ts), np.int8), np.zeros(len(ts), np.int8)
    fields = {name: arrays[name] for name in FIELDS}
    rows = Rows(kind, code, ts, seq, known_at, fault, fields)
    return Buffer(arrays["seen"], arrays["shown"], int(arrays["released"][0]), rows)


def align(
    buffer: Buffer, rows: Rows, symbols: tuple[str, ...], *, horizon_us: int | None = None
) -> tuple[Buffer, Release]:
    """Take in rows and release the slices that are now complete.

    With `horizon_us`, a bar or heartbeat later than the last slice released by more than that is
    rejected (`beyond_horizon`) and promises nothing; before the first slice there is no horizon. It
    must be longer than the longest time without a slice: a night, a weekend.
    """
    acts, rejected, unsupported = _parted(rows)
    ascent = _ascent(buffer, acts)
    if ascent.order == DISORDERED or not _within(buffer, acts, horizon_us):
        return _row_by_row(buffer, acts, symbols, horizon_us, rejected, unsupported)
    acts = ascent.acts
    bars = acts.take(acts.kind == RowKind.BAR) if acts.kind.any() else acts
    after, panel = _released(buffer, _merged(buffer.pending, bars, ascent.order), ascent, symbols)
    none = Rows.none()
    return after, Release(
        panel=panel,
        read=len(bars) + len(rejected),
        accepted=len(bars),
        late=none,
        history=none,
        duplicate=none,
        conflicting=np.zeros(0, bool),
        rejected=rejected,
        unsupported=unsupported,
    )


def has_ended(buffer: Buffer) -> bool:
    """Return whether every symbol has sent its end marker."""
    return bool((buffer.seen == ENDED).all())


def _parted(rows: Rows) -> tuple[Rows, Rows, Rows]:
    """Return the bars and marks, the faulty rows, and those of other kinds."""
    if not rows.fault.any() and not rows.kind.any():
        return rows, Rows.none(), Rows.none()
    sound = rows.fault == 0
    known = (rows.kind >= RowKind.BAR) & (rows.kind <= RowKind.END)
    return rows.where(sound & known), rows.take(~sound), rows.take(sound & ~known)


class _Ascent(NamedTuple):
    """Bars and marks in the order of the stream, how they ascend, and what is seen after them."""

    acts: Rows
    order: int
    seen: NDArray[np.int64]
    shown: NDArray[np.int64]


def _ascent(buffer: Buffer, acts: Rows) -> _Ascent:
    seen, shown = buffer.seen.copy(), buffer.shown.copy()
    plain = not (acts.kind.any() or acts.numbered())
    if plain and by_slice(frozen(acts.code), frozen(acts.ts), seen, shown):
        return _Ascent(acts, BY_SLICE, seen, shown)
    place = acts.places()
    as_it_came = _tried(buffer, acts, place)
    if as_it_came.order != DISORDERED:
        return as_it_came
    # Bars before marks is all the order that rows of one place need here, see `ascend`.
    index = np.lexsort((acts.kind != RowKind.BAR, place))
    return _tried(buffer, acts.take(index), place[index])


def _tried(buffer: Buffer, acts: Rows, place: NDArray[np.int64]) -> _Ascent:
    seen, shown = buffer.seen.copy(), buffer.shown.copy()
    kind, code, ts = frozen(acts.kind), frozen(acts.code), frozen(acts.ts)
    return _Ascent(acts, ascend(frozen(place), kind, code, ts, seen, shown), seen, shown)


def _within(buffer: Buffer, acts: Rows, horizon_us: int | None) -> bool:
    """Return whether no row can be beyond the horizon, wherever the slices end meanwhile."""
    if horizon_us is None or not len(acts):
        return True
    return int(acts.ts.max()) <= buffer.released + horizon_us


def _merged(pending: Rows, bars: Rows, order: int) -> Rows:
    """Return all bars ordered by (ts, symbol); no two have one key."""
    merged = Rows.concat(pending, bars)
    after = not len(pending) or not len(bars) or bars.ts[0] > pending.ts[-1]
    return merged if order == BY_SLICE and after else _sorted(merged)


def _sorted(bars: Rows) -> Rows:
    # A stable sort of runs that are sorted already is nearly free.
    return bars.take(np.lexsort((bars.code, bars.ts)))


def _released(
    buffer: Buffer, bars: Rows, ascent: _Ascent, symbols: tuple[str, ...]
) -> tuple[Buffer, Panel]:
    """Return the buffer without the bars of complete slices, and those slices."""
    complete = int(ascent.seen.min()) if len(ascent.seen) else NEVER
    due = int(np.searchsorted(bars.ts, complete, side="right"))
    ready, rest = bars.split(due)
    released = max(buffer.released, int(ready.ts[-1])) if due else buffer.released
    return Buffer(ascent.seen, ascent.shown, released, rest), panel_of(ready, symbols)


def _row_by_row(
    buffer: Buffer,
    acts: Rows,
    symbols: tuple[str, ...],
    horizon_us: int | None,
    rejected: Rows,
    unsupported: Rows,
) -> tuple[Buffer, Release]:
    """Do what `align` does, for rows of which some may be late, repeated or beyond the horizon."""
    rows = Rows.concat(buffer.pending, acts.take(_by_values(acts)))
    pending = len(buffer.pending)
    seen, shown = buffer.seen.copy(), buffer.shown.copy()
    fate = np.zeros(len(rows), np.int8)
    horizon = -1 if horizon_us is None else horizon_us
    stream = _stream(rows, len(symbols))
    decide(stream, pending, buffer.released, horizon, seen, shown, fate)
    bars = _sorted(rows.take((rows.kind == RowKind.BAR) & (fate == Fate.ACCEPTED)))
    after, panel = _released(buffer, bars, _Ascent(acts, DISORDERED, seen, shown), symbols)
    late = fate == Fate.LATE
    in_order = fate == Fate.LATE_IN_ORDER
    history = rows.take(in_order)
    again = (fate == Fate.REPEATED) | (fate == Fate.CONFLICTING)
    beyond = rows.take(fate == Fate.BEYOND_HORIZON)
    fault = np.full(len(beyond), CODES[Reason.BEYOND_HORIZON], np.int8)
    rejected = Rows.concat(rejected, replace(beyond, fault=fault))
    accepted = len(bars) - pending
    return after, Release(
        panel=panel,
        read=accepted + int((late | in_order | again).sum()) + len(rejected),
        accepted=accepted,
        late=rows.take(late | in_order),
        history=history.take(np.lexsort((history.ts, history.code))),
        duplicate=rows.take(again),
        conflicting=fate[again] == Fate.CONFLICTING,
        rejected=rejected,
        unsupported=unsupported,
    )


def _by_values(acts: Rows) -> NDArray[np.intp]:
    """Return the order of the stream, where bars that differ in nothing else stand by value."""
    values = tuple(acts.column(name) for name in reversed(FIELDS))
    return np.lexsort(
        (acts.seq, *values, acts.code, acts.kind != RowKind.BAR, acts.until(), acts.places())
    )


def _stream(rows: Rows, symbols: int) -> Stream:
    bars = rows.kind == RowKind.BAR
    key, slot = np.full(len(rows), -1), np.full(len(rows), -1)
    times, slot[bars] = np.unique(rows.ts[bars], return_inverse=True)
    key[bars] = np.unique(slot[bars] * symbols + rows.code[bars], return_inverse=True)[1]
    values = np.stack([rows.column(name) for name in FIELDS], axis=1)
    seq = np.where(rows.seq == NULL, LAST, rows.seq)
    columns: list[NDArray[Any]] = [rows.kind, rows.code, rows.ts, seq, values, key, slot, times]
    return Stream(*map(frozen, columns))
