"""Made-up bars on which a user's function is tried: what real streams are like, and then some.

Sines and a golden-ratio sequence stand in for randomness, so that every process tries the same.
Prices lie below 1 and above 10,000, rise and fall, peak early and late, lie still; times are days
with weekends, minutes in sessions, quarter hours around the clock over a year's end, hours over
months; columns that are no bar's stand for indicators: oscillators, differences, pulses.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark.core.indicators.function import Family
from streambt_spark.core.market.bars import COLUMNS, DAY_US

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from streambt_spark.core.indicators.function import Function

    Numbers = Any

_GOLDEN = 0.6180339887498949
_MINUTE_US = 60_000_000
_SYMBOLS = 4
_VARIADIC = 3
_LONG = 2_600
_WIDE, _MEMORY = 7, 100
"""The number of the series with values of all sizes, and the first on which memory is tried."""


@dataclass(frozen=True, slots=True)
class Series:
    """Columns for a function, all of one length, and the time of each row.

    `gaps` tells that numbers are missing.
    """

    name: str
    inputs: tuple[str, ...]
    columns: list[NDArray[np.float64]]
    ts: NDArray[np.int64]
    gaps: bool = False

    def __len__(self) -> int:
        return len(self.ts)


def series_for(function: Function, columns: int | None = None) -> tuple[Series, ...]:
    """Return the series that a function is tried on; `columns` is how many `*columns` it gets.

    Numbers are missing in some: in panels, and in columns that are no bar's.
    """
    return _series(_inputs(function, columns), _is_wide(function), function.lookback)


def long_series_for(
    function: Function, rows: int, columns: int | None = None
) -> tuple[Series, ...]:
    """Return series on which a function's memory is tried.

    After a peak and a plunge, in either order, hardly anything happens any more: what still depends
    on them then always will.
    """
    return _long_series(_inputs(function, columns), _is_wide(function), rows)


@lru_cache(maxsize=64)
def _series(inputs: tuple[str, ...], wide: bool, lookback: int) -> tuple[Series, ...]:
    long = max(_LONG, 3 * lookback + 600)
    kinds = (
        ("days", _weekdays("2014-11-03", 400), _swinging, 1e5),
        ("falling days", _weekdays("1998-03-02", 330), _falling, 30.0),
        ("late days", _weekdays("2024-06-03", 340), _rising, 4e8),
        ("minutes in sessions", _sessions("2020-02-27", 3, 390), _still, 2e3),
        ("quarter hours", _steps("2019-12-29", 15, 480), _crypto, 2.5),
        ("hours", _steps("2021-05-27", 60, 420), _quiet, 1e6),
        ("years of days", _weekdays("2005-01-03", long), _years, 1e7),
        ("sixty years", _scattered("1980-01-01", 411), _wide, 1e5),
    )
    whole = [_make(inputs, wide, i, *kind) for i, kind in enumerate(kinds)]
    holes = [_gappy(inputs, whole[i]) for i in (0, 4)]
    return (*whole, *(series for series in holes if series.gaps))


@lru_cache(maxsize=8)
def _long_series(inputs: tuple[str, ...], wide: bool, rows: int) -> tuple[Series, ...]:
    days = _weekdays("1990-01-01", rows)
    kinds = (
        ("quiet after a leap", days, _quiet, 1e6),
        ("quiet after a plunge", days, _quiet_after_a_plunge, 1e6),
        ("falling from a peak", days, _falling, 1e6),
        ("years of days", days, _years, 1e6),
    )
    return tuple(_make(inputs, wide, i, *kind) for i, kind in enumerate(kinds, start=_MEMORY))


def _inputs(function: Function, columns: int | None) -> tuple[str, ...]:
    return function.inputs or ("close",) * (columns or _VARIADIC)


def _is_wide(function: Function) -> bool:
    return function.family is Family.CROSS_SECTIONAL


def _make(
    inputs: tuple[str, ...],
    wide: bool,
    number: int,
    name: str,
    ts: NDArray[np.int64],
    path: Callable[[Numbers, int], Numbers],
    volume: float,
) -> Series:
    rows, symbols = len(ts), _SYMBOLS if wide else 1
    row = np.arange(rows, dtype=np.float64)[:, None] + 57.0 * np.arange(symbols)
    close = path(row, rows)
    opened = close * (1 - 0.006 * np.sin(row * 1.9))
    noise = _noise(row)
    still = np.abs(np.sin(row / 37)) < 0.15  # stretches without a trade
    fields = {
        "open": opened,
        "high": np.maximum(opened, close) * (1.004 + 0.003 * noise),
        "low": np.minimum(opened, close) * (0.996 + 0.003 * noise),
        "close": close,
        "volume": np.where(still, 0.0, np.round(volume * (1.6 + np.sin(row * 0.7) + noise))),
        "ts": np.broadcast_to(ts.astype(np.float64)[:, None], close.shape),
    }
    uses: Counter[str] = Counter()
    columns = []
    for i, field in enumerate(inputs):
        again = 1 + 0.003 * uses[field] * np.sin(row / (3 + i))  # `*columns` are not all one
        columns.append(fields[field] * again if field in fields else _other(number, i, row, close))
        uses[field] += 1
    shaped = [np.ascontiguousarray(c if wide else c[:, 0]) for c in columns]
    for column in shaped:
        column.flags.writeable = False
    return Series(name, inputs, shaped, ts)


def _noise(row: Numbers) -> Numbers:
    """Numbers in [-0.5, 0.5) without a pattern that a function would follow."""
    return (row * _GOLDEN % 1.0 + (row * row) * 0.7548776662466927 % 1.0) % 1.0 - 0.5


def _swinging(row: Numbers, rows: int) -> Numbers:
    return 60 + 0.4 * row + 9 * np.sin(row / 17) + 3 * np.sin(row / 5 + 1) + 3 * _noise(row)


def _falling(row: Numbers, rows: int) -> Numbers:
    peak = 1 + 0.8 * np.exp(-(((row - 12) / 9) ** 2))
    swings = 1 + 0.02 * np.sin(row / 4) + 0.02 * _noise(row)
    return 0.9 * np.exp(-2.5 * row / rows) * peak * swings


def _rising(row: Numbers, rows: int) -> Numbers:
    return 1200 * np.exp(2 * row / rows) * (1 + 0.02 * np.sin(row / 6) + 0.01 * _noise(row))


def _still(row: Numbers, rows: int) -> Numbers:
    """Prices in cents that often do not move."""
    moving = np.floor(row / 7) * 7
    return np.round(35 + 1.5 * np.sin(moving / 31) + 0.4 * _noise(moving), 2)


def _crypto(row: Numbers, rows: int) -> Numbers:
    return 42_000 + 9_000 * np.sin(row / 61) + 700 * np.sin(row / 7) + 400 * _noise(row)


def _wide(row: Numbers, rows: int) -> Numbers:
    """Through all sizes again and again, so that a condition on any price holds and does not."""
    decades = 17 * np.abs((row / 61 + 0.3 * _noise(row)) % 2 - 1) - 8
    return 10.0**decades * (1 + 0.1 * _noise(row + 0.5))


def _quiet(row: Numbers, rows: int) -> Numbers:
    """A plunge and a leap over four decades at the start, then hardly a move.

    Greater ones would leave their mark on the last digits of running sums for ever.
    """
    leap = np.exp(-(((row - 75) / 8) ** 2)) - np.exp(-(((row - 30) / 8) ** 2))
    return 5 * 100.0**leap + 0.02 * np.sin(row / 9) + 0.02 * _noise(row)


def _quiet_after_a_plunge(row: Numbers, rows: int) -> Numbers:
    return 25 / _quiet(row, rows)


def _years(row: Numbers, rows: int) -> Numbers:
    """From 4 to 400 and back to 50 within ten years, with swings of all lengths."""
    trend = 4 * np.exp(4.6 * np.minimum(row, 1_900) / 1_900 - 2 * np.maximum(row - 1_900, 0) / 700)
    swings = 0.1 * np.sin(row / 170) + 0.04 * np.sin(row / 23) + 0.02 * np.sin(row / 5)
    return np.maximum(trend, 20 * (row > 1_900)) * (1 + swings + 0.02 * _noise(row))


def _other(number: int, column: int, row: Numbers, close: Numbers) -> Numbers:
    """A column that is no bar's: of another kind from series to series, for memory always quiet."""
    wave = np.sin(row / (11 + 3 * column)) + 0.6 * np.sin(row / 47 + column) + 0.5 * _noise(row)
    if number >= _MEMORY:
        first, second = (30, 75) if number % 2 else (75, 30)
        early = np.exp(-(((row - first) / 9) ** 2)) - np.exp(-(((row - second) / 9) ** 2))
        if number < _MEMORY + 2:
            return 50 + 45 * early + 0.4 * wave
        return close * (1 + 0.01 * wave) if number % 2 else np.sinh(5 * early) + 0.05 * wave
    if number == _WIDE:
        return np.sinh(22 * np.sin(row / (7 + column)) * np.abs(_noise(row + column) + 0.5))
    kind = (number + (column if number > 3 else 0)) % 4
    if kind == 0:
        return close * (1 + 0.01 * wave)
    if kind == 1:  # an oscillator
        return np.clip(50 + 26 * wave, 0, 100)
    if kind == 2:  # a difference around zero
        return close[0] * 0.02 * wave
    return np.sign(np.round(wave))


def _gappy(inputs: tuple[str, ...], series: Series) -> Series:
    """Numbers are missing: here and there, for a stretch, and at the start of one symbol."""
    columns, gaps = [], False
    for number, (name, column) in enumerate(zip(inputs, series.columns, strict=True)):
        if name == "ts" or (name in COLUMNS and column.ndim == 1):
            columns.append(column)
            continue
        holes, gaps = column.copy(), True
        wide = holes.reshape(len(holes), -1)
        row = np.arange(len(wide))
        for s in range(wide.shape[1]):
            gone = (_noise(row + 31.0 * s + 7.0 * number) > 0.38) & (row % 5 != s)
            gone |= (row // 23 % 6 == s + 1) & (row % 23 < 14)
            gone[: 40 * (s == 1)] = True
            wide[gone, s] = np.nan
        holes.flags.writeable = False
        columns.append(holes)
    return Series(f"{series.name} with gaps", inputs, columns, series.ts, gaps=gaps)


def _weekdays(start: str, rows: int) -> NDArray[np.int64]:
    """Weekdays but holidays, of which every 29th is one."""
    number = np.arange(rows)
    days = np.busday_offset(np.datetime64(start, "D"), number + number // 28, roll="forward")
    return days.astype(np.int64) * DAY_US


def _sessions(start: str, days: int, minutes: int) -> NDArray[np.int64]:
    """Minutes from 14:30 on, on weekdays, as New York's are in winter."""
    opened = _weekdays(start, days) + (14 * 60 + 30) * _MINUTE_US
    return (opened[:, None] + np.arange(minutes) * _MINUTE_US).reshape(-1)


def _scattered(start: str, rows: int) -> NDArray[np.int64]:
    """Some times of some days, over decades."""
    first = int(np.datetime64(start, "D").astype(np.int64)) * DAY_US
    return first + np.arange(rows) * (53 * DAY_US + 437 * _MINUTE_US)


def _steps(start: str, minutes: int, rows: int) -> NDArray[np.int64]:
    """Around the clock."""
    first = int(np.datetime64(start, "D").astype(np.int64)) * DAY_US
    return first + np.arange(rows) * minutes * _MINUTE_US


def changed_after(series: Series, cut: int) -> Sequence[NDArray[np.float64]]:
    """Return the columns with other values from row `cut` on; times only move on."""
    columns = []
    for name, column in zip(series.inputs, series.columns, strict=True):
        rest = column[cut:] + 3.0 * DAY_US if name == "ts" else 2.5 * column[cut:][::-1]
        columns.append(np.concatenate((column[:cut], rest)))
    return columns
