"""What becomes of each bar, row by row in the order of the stream, as compiled loops.

Here is decided which bars are late. Of a row only the rows before it count, so no cut of the stream
into calls can be seen: a bar after a heartbeat that released its slice is late, whether the two
came in one call or in two.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from streambt_spark.core.market.rows import LAST, NULL, RowKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BAR, _END = int(RowKind.BAR), int(RowKind.END)
_NULL, _LAST = NULL, LAST


class Fate(IntEnum):
    """What becomes of a row; a mark is accepted unless it is beyond the horizon."""

    ACCEPTED = 0
    LATE = 1
    LATE_IN_ORDER = 2  # late, and after all its symbol has shown: it enters the history
    REPEATED = 3
    CONFLICTING = 4
    BEYOND_HORIZON = 5


_ACCEPTED, _LATE, _LATE_IN_ORDER, _REPEATED, _CONFLICTING, _BEYOND = (int(fate) for fate in Fate)
DISORDERED, ASCENDING, BY_SLICE = range(3)


@njit(cache=True)
def by_slice(
    code: NDArray[np.int32],
    ts: NDArray[np.int64],
    seen: NDArray[np.int64],
    shown: NDArray[np.int64],
) -> bool:
    """Do what `ascend` does for bars without numbers, the usual case; return whether BY_SLICE."""
    last_ts, last_code = _NULL, -1
    for i in range(len(ts)):
        s, t = code[i], ts[i]
        if t <= seen[s] or t < last_ts or (t == last_ts and s < last_code):
            return False
        seen[s] = t
        shown[s] = t
        last_ts, last_code = t, s
    return True


@njit(cache=True)
def ascend(
    place: NDArray[np.int64],
    kind: NDArray[np.int8],
    code: NDArray[np.int32],
    ts: NDArray[np.int64],
    seen: NDArray[np.int64],
    shown: NDArray[np.int64],
) -> int:
    """Return whether places ascend, and each bar is later than all that its symbol saw.

    Then no bar can be late or repeated, in whatever order rows of one place stand, and `seen` and
    `shown` are those after the rows; else they are worthless. BY_SLICE says that the bars are in
    the order of (ts, symbol) as well.
    """
    order = BY_SLICE
    last_place, last_ts, last_code = _NULL, _NULL, -1
    for i in range(len(ts)):
        s, t = code[i], ts[i]
        if place[i] < last_place:
            return DISORDERED
        last_place = place[i]
        if kind[i] != _BAR:
            _mark(seen, s, _LAST if kind[i] == _END else t)
            continue
        if t <= seen[s]:
            return DISORDERED
        seen[s] = t
        shown[s] = t
        if t < last_ts or (t == last_ts and s < last_code):
            order = ASCENDING
        last_ts, last_code = t, s
    return order


@njit(cache=True)
def _mark(seen: NDArray[np.int64], code: int, until: int) -> None:
    """Note that a symbol, or every one, has shown all its bars up to a time."""
    if code >= 0:
        seen[code] = max(seen[code], until)
        return
    for s in range(len(seen)):
        seen[s] = max(seen[s], until)


class Stream(NamedTuple):
    """N rows in the order of the stream, as `decide` reads them.

    `values` are a bar's, float64[N, 5]; `key` numbers the pairs of time and symbol of the bars, and
    `slot` points into `times`, their distinct times, ascending; both are -1 for a mark.
    """

    kind: NDArray[np.int8]
    code: NDArray[np.int32]
    ts: NDArray[np.int64]
    seq: NDArray[np.int64]
    values: NDArray[np.float64]
    key: NDArray[np.int64]
    slot: NDArray[np.int64]
    times: NDArray[np.int64]


@njit(cache=True)
def decide(
    stream: Stream,
    pending: int,
    released: int,
    horizon_us: int,
    seen: NDArray[np.int64],
    shown: NDArray[np.int64],
    fate: NDArray[np.int8],
) -> int:
    """Set each row's fate, bring `seen` and `shown` up to date, return the last slice released.

    The first `pending` rows are bars that wait already. `horizon_us` is -1 for none.
    """
    kind, code, ts, seq, values, key, slot, times = stream
    holder = np.full(len(ts), -1, np.int64)
    filled = np.zeros(len(times), np.bool_)
    for i in range(pending):
        holder[key[i]] = i
        filled[slot[i]] = True
    complete, due = seen.min(), 0
    for i in range(pending, len(ts)):
        s, t = code[i], ts[i]
        if kind[i] != _END and horizon_us >= 0 and released != _NULL and t - released > horizon_us:
            fate[i] = _BEYOND
            continue
        if kind[i] != _BAR:
            _mark(seen, s, _LAST if kind[i] == _END else t)
            complete = seen.min()
        else:
            if t <= released:
                fate[i] = _LATE_IN_ORDER if t > shown[s] else _LATE
            elif holder[key[i]] >= 0:
                _settle(i, key[i], holder, seq, values, fate)
            else:
                holder[key[i]] = i
                filled[slot[i]] = True
                if t <= complete:
                    released = t
            shown[s] = max(shown[s], t)
            if t > seen[s]:
                lowest = seen[s] == complete
                seen[s] = t
                if lowest:
                    complete = seen.min()
        while due < len(times) and times[due] <= complete:
            if filled[due]:
                released = max(released, times[due])
            due += 1
    return released


@njit(cache=True)
def _settle(
    new: int,
    key: int,
    holder: NDArray[np.int64],
    seq: NDArray[np.int64],
    values: NDArray[np.float64],
    fate: NDArray[np.int8],
) -> None:
    """Of two bars of one key, keep the one with the lower number, or else with the lower values."""
    held = holder[key]
    difference = _compare(values, new, held)
    lower = seq[new] < seq[held] if seq[new] != seq[held] else difference < 0
    loser = held if lower else new
    if lower:
        holder[key] = new
    fate[loser] = _REPEATED if difference == 0 else _CONFLICTING


@njit(cache=True)
def _compare(values: NDArray[np.float64], a: int, b: int) -> int:
    """Return -1, 0 or 1 as the values of row a are lower than, equal to or above those of b."""
    for column in range(values.shape[1]):
        if values[a, column] != values[b, column]:
            return -1 if values[a, column] < values[b, column] else 1
    return 0


def frozen(column: NDArray[Any]) -> NDArray[Any]:
    """Return a column as the loops are compiled for: contiguous, and not to be written to."""
    view = np.ascontiguousarray(column).view()
    view.flags.writeable = False
    return view


def compile_fates() -> None:
    """Compile the loops, or load them from numba's cache, on no rows of one symbol."""
    long, byte, code = (frozen(np.empty(0, dtype)) for dtype in ("i8", "i1", "i4"))
    seen, shown = np.zeros(1, np.int64), np.zeros(1, np.int64)
    by_slice(code, long, seen, shown)
    ascend(long, byte, code, long, seen, shown)
    values, fate = frozen(np.empty((0, 5))), np.empty(0, np.int8)
    stream = Stream(byte, code, long, long, values, long, long, long)
    decide(stream, 0, 0, -1, seen, shown, fate)
