"""The run-time proof: what is evaluated again must give the bits that were published.

A function that looks ahead, or whose last bits depend on how many rows it sees, would give another
ledger with other batches. So the bits published of the current span are hashed, and when the span
is evaluated again with more bars, its beginning must hash equal. Within a batch, windows are cut at
rows chosen by the node's digest, most of them right after a change of the output or before a gap in
time, where such functions differ; the part before the cut is evaluated again and must be equal.
Rows of pointwise functions are evaluated again in another company.

The checks are dense over the first _SMALL rows of a run, as many as a small run has, and thin out
from there. Nodes of one function with other parameters share its checks. The proof changes no
value. TA-Lib's functions are trusted: tests prove them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from streambt_spark.errors import LookAheadError, StrategyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SMALL = 50_000
_DENSEST, _ANYWHERE = 0.2, 250.0
_MARKED, _MARKED_EVERYWHERE = 0.03, 0.01
"""Of the first _SMALL rows: the part that is cut anywhere, at most _DENSEST and _ANYWHERE for each
e-fold that the rows grow; and the part that is cut after a change, fewer where all rows change."""
_LATER = 120.0
"""Cuts for each e-fold that the rows grow after that."""
_ACROSS, _LEAST_ACROSS = 500.0, 5.0
_EVERY = 16
"""Steps from one check of a function without windows to the next, but that long steps among the
first _SMALL rows are checked all."""
_FEW, _PART = 64, 0.05
"""Rows of a step that a pointwise function evaluates again: at least, and of a long run."""
_ROUNDING = 1e-9

_P1, _P2 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F)
_NAN = np.uint64(0x7FF8000000000000)


@njit(cache=True)
def _mix(h: Any, bits: Any) -> Any:
    """One round of xxHash64."""
    h = np.uint64(h) + np.uint64(bits) * _P2
    return ((h << np.uint64(31)) | (h >> np.uint64(33))) * _P1


@njit(cache=True)
def _bits(values: NDArray[np.uint64], at: int) -> Any:
    """The bits of a float64, with one NaN for all."""
    bits = values[at]
    if (bits & np.uint64(0x7FFFFFFFFFFFFFFF)) > np.uint64(0x7FF0000000000000):
        return _NAN
    return bits


@njit(cache=True)
def _uniform(seed: int, s: int, n: int) -> Any:
    """A number in [0, 1) that the node, the symbol and the bar decide."""
    h = _mix(_mix(_mix(np.uint64(seed), np.uint64(s)), np.uint64(n)), np.uint64(seed))
    h ^= h >> np.uint64(29)
    return (h * _P2 >> np.uint64(11)) / 9007199254740992.0


def seed_of(identity: str) -> int:
    """Return the number by which a node chooses its cuts."""
    return int(identity, 16) & 0x7FFFFFFFFFFFFFFF


def uniform(seed: int, s: int, n: int) -> float:
    """Return a number in [0, 1) that is always the same for these three."""
    return float(_uniform(seed, s, n))


@njit(cache=True)
def publish(
    windows: NDArray[np.void],
    span: int,
    values: NDArray[np.float64],
    out: NDArray[np.float64],
    start: NDArray[np.int64],
    count: NDArray[np.int64],
    hashes: NDArray[np.int64],
) -> int:
    """Copy the windows' new values to `out`, and see that the earlier ones are those published.

    `hashes` holds of each symbol what was published of its current span, and is brought up to date.
    Returns -1, or the number of the first window whose earlier values have changed.
    """
    bits, known = values.view(np.uint64), hashes.view(np.uint64)
    for k in range(len(windows)):
        w = windows[k]
        s, h = w.symbol, np.uint64(0)
        at = w.at - w.since  # of bar 0
        for n in range(w.first // span * span, w.first):
            h = _mix(h, _bits(bits, at + n))
        if w.first % span and h != known[s]:
            return k
        to = start[s] - count[s]
        for n in range(w.first, w.stop):
            out[to + n] = values[at + n]
            h = _mix(h, _bits(bits, at + n))
        known[s] = h if w.stop % span else np.uint64(0)
    return -1


@njit(cache=True)
def choose_cuts(
    windows: NDArray[np.void],
    span: int,
    results: NDArray[np.float64],
    times: NDArray[np.int64],
    start: NDArray[np.int64],
    count: NDArray[np.int64],
    seed: int,
    share: float,
) -> NDArray[np.int64]:
    """Return (window, bar) pairs: the windows are to be evaluated again up to and with that bar.

    The last bar of a batch needs no cut: the next batch proves it. `times` are those of the new
    bars, or of one symbol's, where all have the same.
    """
    cuts = [(0, 0) for _ in range(0)]
    bits, symbols = results.view(np.uint64), len(count)
    for k in range(len(windows)):
        w = windows[k]
        if w.stop - w.first < 2:
            continue
        at, to = w.at - w.since, start[w.symbol] - count[w.symbol]
        rows = w.first * symbols
        if rows < _SMALL:
            marked = np.empty(w.stop - 1 - w.first, np.bool_)
            for n in range(w.first, w.stop - 1):
                marked[n - w.first] = _is_marked(bits, times, w.since, w.first, at, to, n)
            part = marked.mean()
            for n in range(w.first, w.stop - 1):
                u = _uniform(seed, w.symbol, n)
                anywhere = min(_DENSEST, _ANYWHERE / (n * symbols + 1)) * share
                most = max(anywhere, (_MARKED if part < 0.5 else _MARKED_EVERYWHERE) * share)
                if u < anywhere or (marked[n - w.first] and u * part < most):
                    cuts.append((k, n))
            continue
        expected = _LATER * share * span / rows
        for i in range(int(np.ceil(expected))):
            base = w.first // span * span
            n = base + int(_uniform(seed + 2 * i, w.symbol, base) * span)
            u = _uniform(seed + 2 * i + 1, w.symbol, base)
            if u * np.ceil(expected) >= expected or not w.first <= n < w.stop - 1:
                continue
            if int(u * 1e12) % 2 == 0:  # every other one goes on to the next change
                m = n
                while m < w.stop - 1 and not _is_marked(bits, times, w.since, w.first, at, to, m):
                    m += 1
                n = m if m < w.stop - 1 else n
            cuts.append((k, n))
    out = np.empty((len(cuts), 2), np.int64)
    for i in range(len(cuts)):
        out[i, 0], out[i, 1] = cuts[i]
    return out


@njit(cache=True)
def _is_marked(
    bits: NDArray[np.uint64],
    times: NDArray[np.int64],
    since: int,
    first: int,
    at: int,
    to: int,
    n: int,
) -> bool:
    """Tell whether an output changes at bar n, or a gap in time follows it."""
    for i in range(len(bits)):
        if n > since and _bits(bits[i], at + n) != _bits(bits[i], at + n - 1):
            return True
    if n == first:
        return False
    size = len(times)
    here = times[(to + n) % size]
    before, after = times[(to + n - 1) % size], times[(to + n + 1) % size]
    return bool(2 * (after - here) > 3 * (here - before))


@njit(cache=True)
def find_difference(
    one: NDArray[np.float64], other: NDArray[np.float64], begin: int, stop: int
) -> tuple[int, int]:
    """Return the first (output, row) in which two matrices hold other bits, or (-1, -1)."""
    for i in range(len(one)):
        row = first_difference(one[i], other[i], begin, stop)
        if row >= 0:
            return i, row
    return -1, -1


@njit(cache=True)
def first_difference(
    one: NDArray[np.float64], other: NDArray[np.float64], begin: int, stop: int
) -> int:
    """Return the first row from `begin` to `stop` in which two arrays hold other bits, or -1."""
    a, b = one.view(np.uint64), other.view(np.uint64)
    for i in range(begin, stop):
        if _bits(a, i) != _bits(b, i):
            return i
    return -1


def hash_of(values: NDArray[np.float64]) -> int:
    """Return the hash of an array's bits."""
    return int(_hash(np.ascontiguousarray(values).reshape(-1)))


@njit(cache=True)
def _hash(values: NDArray[np.float64]) -> Any:
    bits, h = values.view(np.uint64), np.uint64(0)
    for i in range(len(values)):
        h = _mix(h, _bits(bits, i))
    return np.int64(h)


def chosen_slices(
    first: int, stop: int, symbols: int, seed: int, share: float, changed: NDArray[np.bool_]
) -> list[int]:
    """Return the slices of a window, but the last, after which panels are cut."""
    rate = min(max(_ACROSS / symbols, _LEAST_ACROSS), _LATER) * share
    part = max(float(changed.mean()), 1e-9)
    chosen = []
    for n in range(first, stop - 1):
        u = uniform(seed, 0, n)
        if n * symbols < _SMALL:
            dense = min(1.0, 0.005 * symbols) * share
            if u < dense / 6 or (changed[n - first] and u * part < dense):
                chosen.append(n)
        elif u * n < rate:
            chosen.append(n)
    return chosen


def is_due(seed: int, slices: int, new: int, symbols: int) -> bool:
    """Tell whether a step of `new` slices after so many checks functions without windows."""
    if slices * symbols < _SMALL and new >= _EVERY:
        return True
    return uniform(seed, 1, slices) * _EVERY < 1


def rows_to_check(slices: int, symbols: int, rows: int, share: float) -> int:
    """Return how many of a step's rows are evaluated again by a pointwise function."""
    small = max(0, min(rows, _SMALL - slices * symbols))
    return min(rows, max(_FEW, int((small + (rows - small) * _PART) * share)))


def moved(
    name: str, output: str, symbol: str, when: str, old: float, new: float, scale: float
) -> LookAheadError:
    """Return the error for a published value that later bars have changed."""
    where = f"{output!r} of {symbol} {when} was {old!r} and is {new!r} with later bars"
    return LookAheadError(f"{explain(name, where, old, new, scale)}; the run was stopped")


def explain(name: str, where: str, old: float, new: float, scale: float) -> str:
    """Return what is wrong with a value that changed, and what to do: look-ahead, or rounding."""
    if abs(old - new) <= _ROUNDING * max(scale, abs(old), abs(new)):
        return (
            f"{name} rounds differently as bars come: {where}. It does not look ahead, but its "
            "last bits depend on how many rows there are, as those of an FFT, of a difference of "
            "sums or of np.convolve do: compute every row alike, declare the lookback with "
            "@indicator, or round the result (np.round(value, 9))"
        )
    return f"{name} looks ahead: {where}; use no row after the one that a value is for"


def unsteady(name: str, output: str) -> StrategyError:
    """Return the error for a function that gives other values for the same bars."""
    return StrategyError(
        f"{name}: {output!r} differs from call to call for the same rows; an indicator depends on "
        "its columns and parameters alone: no randomness without a fixed seed, no clock, no state"
    )


def scale_of(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the largest finite size in an array, against which rounding is told."""
    sizes = np.abs(np.asarray(values, np.float64))
    sizes = sizes[np.isfinite(sizes)]
    return float(sizes.max()) if sizes.size else 0.0
