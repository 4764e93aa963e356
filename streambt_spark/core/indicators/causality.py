"""Checks of a user's function: no later bar counts, and no more earlier ones than it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.indicators.function import Family
from streambt_spark.core.indicators.python import PythonKernel
from streambt_spark.core.market.bars import DAY_US
from streambt_spark.errors import BadParameter, LookAheadError, StrategyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.indicators.function import Columns, Function, Outputs

_ROWS, _SYMBOLS = 400, 3
_CUTS = (1, 2, 3, 67, 180, 251, 317, 399)
_VARIADIC = ("close", "close", "close")
_GOLDEN = 0.6180339887498949

_ROUNDING = (
    "its rounding depends on how many rows there are: declare its lookback with @indicator, "
    "or compute every row alike"
)


def check_causal(function: Function) -> None:
    """Raise LookAheadError where a later bar changes an earlier value, be it in the last bit.

    The function runs over a fixed series and over its prefixes, with the later rows cut off and
    with other values in their place. Passing is evidence, not proof: a function may look ahead
    only where the series never leads it. Raises StrategyError where the function itself raises.
    """
    columns = _series(function, _ROWS)
    with np.errstate(all="ignore"):
        whole = function.evaluate(columns)
        for cut in _CUTS:
            prefix = _evaluate_short(function, [column[:cut] for column in columns])
            _compare(function, whole, prefix, cut, "cut off")
            poisoned = [np.concatenate((c[:cut], 2.5 * c[cut:][::-1])) for c in columns]
            _compare(function, whole, function.evaluate(poisoned), cut, "changed")


def check_memory(function: Function) -> None:
    """Raise BadParameter where a value depends on more bars than a warm-up left to the default.

    The anchor rule would cut such a function's memory short. A warm-up given in `indicator` is the
    user's word and is not checked; TA-Lib's functions have theirs from a table.
    """
    kernel, span, warmup = function.kernel, function.span, function.warmup
    if not isinstance(kernel, PythonKernel) or kernel.declared:
        return
    columns = _series(function, 2 * span)
    with np.errstate(all="ignore"):
        whole = function.evaluate(columns)
        since = function.evaluate([column[span - warmup :] for column in columns])
    for name, full, part in zip(function.outputs, whole, since, strict=True):
        expected, found = full[span:], part[warmup:]
        sizes = np.abs(expected[np.isfinite(expected)])
        scale = float(sizes.max()) if len(sizes) else 0.0
        if not np.allclose(expected, found, rtol=1e-6, atol=1e-6 * scale, equal_nan=True):
            raise BadParameter(
                f"{function.name}: {name!r} depends on more than the {warmup} bars of its warm-up; "
                "say how many it needs: @indicator(warmup=...) or lookback=..., a number of bars "
                "or a function of its parameters"
            )


def _evaluate_short(function: Function, columns: Columns) -> Outputs:
    try:
        return function.evaluate(columns)
    except StrategyError as error:
        raise StrategyError(
            f"{error}; a stream starts with few rows, here {len(columns[0])}: handle any number, "
            "or declare the lookback with @indicator"
        ) from error.__cause__


def _compare(function: Function, whole: Outputs, part: Outputs, cut: int, deed: str) -> None:
    for name, full, other in zip(function.outputs, whole, part, strict=True):
        before, after = full[:cut].reshape(cut, -1), other[:cut].reshape(cut, -1)
        differ = (before != after) & ~(np.isnan(before) & np.isnan(after))
        if differ.any():
            row, column = (int(i) for i in np.argwhere(differ)[0])
            old, new = float(before[row, column]), float(after[row, column])
            rounding = abs(old - new) <= 1e-9 * abs(old)
            raise LookAheadError(
                f"{function.name} looks ahead: {name!r} at row {row} was {old!r} and is {new!r} "
                f"with the rows from {cut} on {deed}; "
                + (_ROUNDING if rounding else "use no row after the one the value is for")
            )


def _series(function: Function, rows: int) -> list[NDArray[np.float64]]:
    """Bars that trend, swing and jump; sines and a golden-ratio sequence in place of randomness."""
    wide = function.family is Family.CROSS_SECTIONAL
    row = np.arange(rows, dtype=np.float64)[:, None] + 57.0 * np.arange(_SYMBOLS if wide else 1)
    noise = row * _GOLDEN % 1.0 - 0.5
    close = 100 + 0.02 * row + 8 * np.sin(row / 17) + 3 * np.sin(row / 5 + 1) + 2 * noise
    opened = close - 1.5 * np.sin(row * 1.9)
    fields = {
        "open": opened,
        "high": np.maximum(opened, close) + 0.7 + noise,
        "low": np.minimum(opened, close) - 0.7 + noise,
        "volume": np.round(1e5 * (1.1 + np.sin(row * 0.7) + noise)),
        "ts": np.broadcast_to(DAY_US * np.arange(1.0, rows + 1)[:, None], close.shape),
    }
    columns = [
        fields.get(name, close + 0.3 * i * np.sin(row / (3 + i)))
        for i, name in enumerate(function.inputs or _VARIADIC)
    ]
    return [np.ascontiguousarray(column if wide else column[:, 0]) for column in columns]
