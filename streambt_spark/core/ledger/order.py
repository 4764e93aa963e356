"""The order of a ledger's events, and the proof that none is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SHORT_CODES = 2**16


class Fault(NamedTuple):
    """Where a lane's numbers are not 0, 1, 2, …: `seq` is there `times` times, 0 or many."""

    lane: int
    seq: int
    times: int


def canonical_order(
    lane: NDArray[np.int32], ts: NDArray[np.int64], seq: NDArray[np.int64]
) -> NDArray[np.intp] | None:
    """Return the order of events by (lane, ts, seq), or None where they are in it already.

    Lanes are codes from 0.
    """
    if _is_ordered(lane, ts, seq):
        return None
    # The events of one lane mostly come in order, and a stable sort keeps that; few lanes have
    # codes that NumPy sorts by radix, in linear time.
    short = lane.astype(np.uint16) if lane.max() < _SHORT_CODES else lane
    order = np.argsort(short, kind="stable")
    if _is_ordered(lane[order], ts[order], seq[order]):
        return order
    return np.lexsort((seq, ts, lane))


def find_fault(lane: NDArray[np.int32], seq: NDArray[np.int64]) -> Fault | None:
    """Return the first place at which a lane's events are not numbered densely from 0, or None.

    Lanes are codes from 0. It takes one pass, whatever the order of the events.
    """
    if not len(lane):
        return None
    sizes = np.bincount(lane)
    starts = np.cumsum(sizes) - sizes
    times = np.zeros(len(lane), np.int32)
    _count(lane, seq, starts, sizes, times)
    # A number beyond the lane's count leaves one below it without an event.
    bad = np.flatnonzero(times != 1)
    if not len(bad):
        return None
    at = int(bad[0])
    code = int(np.searchsorted(starts, at, side="right")) - 1
    return Fault(code, at - int(starts[code]), int(times[at]))


@njit(cache=True, nogil=True)
def _is_ordered(lane, ts, seq):  # type: ignore[no-untyped-def]
    for n in range(1, len(lane)):
        if lane[n] != lane[n - 1]:
            ordered = lane[n] > lane[n - 1]
        elif ts[n] != ts[n - 1]:
            ordered = ts[n] > ts[n - 1]
        else:
            ordered = seq[n] >= seq[n - 1]
        if not ordered:
            return False
    return True


@njit(cache=True, nogil=True)
def _count(lane, seq, starts, sizes, times):  # type: ignore[no-untyped-def]
    """Count how often each number occurs that a lane of this size can have."""
    for n in range(len(lane)):
        if 0 <= seq[n] < sizes[lane[n]]:
            times[starts[lane[n]] + seq[n]] += 1
