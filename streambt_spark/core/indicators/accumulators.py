"""TA-Lib's running totals as exact scans that go on from a carry.

A total depends on every bar since the first, so no warm-up can restore it; these eight carry it.
The formulas are those of TA-Lib 0.8 and give its values to the bit: OBV (Granville), AD (Chaikin),
PVT, NVI and PVI (Fosback, seeded at 1000), WAD (Williams, in Achelis' form without volume), VWAP
of the typical price since the first bar, CUMSUM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_STARTED, _TOTAL, _PRICE, _WEIGHT = range(4)
STATE = 4
"""The numbers that a total carries; all zero before its first row."""

_INDEX_BASE = 1000.0


@njit(cache=True)
def _step_cumsum(s: NDArray[np.float64], x: NDArray[np.float64]) -> float:
    s[_TOTAL] += x[0]
    return s[_TOTAL]  # type: ignore[no-any-return]


@njit(cache=True)
def _step_obv(s: NDArray[np.float64], x: NDArray[np.float64]) -> float:
    if x[0] > s[_PRICE]:
        s[_TOTAL] += x[1]
    elif x[0] < s[_PRICE]:
        s[_TOTAL] -= x[1]
    s[_PRICE] = x[0]
    return s[_TOTAL]  # type: ignore[no-any-return]


@njit(cache=True)
def _step_pvt(s: NDArray[np.float64], x: NDArray[np.float64]) -> float:
    if s[_PRICE] != 0.0:
        s[_TOTAL] += (x[0] - s[_PRICE]) / s[_PRICE] * x[1]
    s[_PRICE] = x[0]
    return s[_TOTAL]  # type: ignore[no-any-return]


@njit(cache=True)
def _step_volume_index(s: NDArray[np.float64], x: NDArray[np.float64], sign: float) -> float:
    if sign * (x[1] - s[_WEIGHT]) > 0.0 and s[_PRICE] != 0.0:
        total = s[_TOTAL] + (x[0] - s[_PRICE]) / s[_PRICE] * s[_TOTAL]
        if np.isfinite(total):
            s[_TOTAL] = total
    s[_PRICE] = x[0]
    s[_WEIGHT] = x[1]
    return s[_TOTAL]  # type: ignore[no-any-return]


@njit(cache=True)
def _step_wad(s: NDArray[np.float64], x: NDArray[np.float64]) -> float:
    high, low, close = x
    if close > s[_PRICE]:
        s[_TOTAL] += close - (s[_PRICE] if s[_PRICE] < low else low)
    elif close < s[_PRICE]:
        s[_TOTAL] += close - (s[_PRICE] if s[_PRICE] > high else high)
    s[_PRICE] = close
    return s[_TOTAL]  # type: ignore[no-any-return]


@njit(cache=True)
def _step_ad(s: NDArray[np.float64], x: NDArray[np.float64]) -> float:
    high, low, close, volume = x
    if high - low > 0.0:
        s[_TOTAL] += ((close - low) - (high - close)) / (high - low) * volume
    return s[_TOTAL]  # type: ignore[no-any-return]


@njit(cache=True)
def _step_vwap(s: NDArray[np.float64], x: NDArray[np.float64]) -> float:
    high, low, close, volume = x
    price = (high + low + close) / 3.0
    if np.isfinite(price) and np.isfinite(volume):
        s[_TOTAL] += price * volume
        s[_WEIGHT] += volume
    if s[_WEIGHT] > 0.0:
        s[_PRICE] = s[_TOTAL] / s[_WEIGHT]
    return s[_PRICE]  # type: ignore[no-any-return]


ACCUMULATED = ("CUMSUM", "OBV", "PVT", "NVI", "PVI", "WAD", "AD", "VWAP")
"""The functions whose value is a total from the first bar; the position is the scan's code."""

_CUMSUM, _OBV, _PVT, _NVI, _PVI, _WAD, _AD, _VWAP = range(8)


@njit(cache=True)
def _start(code: int, s: NDArray[np.float64], x: NDArray[np.float64]) -> None:
    s[_STARTED] = 1.0
    if code == _OBV:
        s[_PRICE], s[_TOTAL] = x[0], x[1]
    elif code == _PVT:
        s[_PRICE] = x[0]
    elif code in (_NVI, _PVI):
        s[_PRICE], s[_WEIGHT], s[_TOTAL] = x[0], x[1], _INDEX_BASE
    elif code == _WAD:
        s[_PRICE] = x[2]


@njit(cache=True)
def _step(code: int, s: NDArray[np.float64], x: NDArray[np.float64]) -> float:
    if code == _CUMSUM:
        return _step_cumsum(s, x)
    if code == _OBV:
        return _step_obv(s, x)
    if code == _PVT:
        return _step_pvt(s, x)
    if code == _NVI:
        return _step_volume_index(s, x, -1.0)
    if code == _PVI:
        return _step_volume_index(s, x, 1.0)
    if code == _WAD:
        return _step_wad(s, x)
    if code == _AD:
        return _step_ad(s, x)
    return _step_vwap(s, x)


@njit(cache=True)
def go_on(code: int, s: NDArray[np.float64], x: NDArray[np.float64]) -> float:
    """Add one row to the state `s` of a running total and return its value.

    The total starts at the first row without a NaN; before it there is no value.
    """
    if s[_STARTED] == 0.0:
        if np.isnan(x).any():
            return np.nan
        _start(code, s, x)
    return _step(code, s, x)


@njit(cache=True)
def _scan(code: int, s: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.empty(len(rows))
    for i in range(len(rows)):
        out[i] = go_on(code, s, rows[i])
    return out


def accumulate(
    name: str, carry: NDArray[np.float64] | None, columns: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (carry, values) of the running total `name`, going on from `carry`.

    `columns` are float64[n] in TA-Lib's order; the carry is float64[STATE] and is never changed in
    place.
    """
    state = np.zeros(STATE) if carry is None else carry.copy()
    values = _scan(ACCUMULATED.index(name), state, np.column_stack(tuple(columns)))
    return state, values
