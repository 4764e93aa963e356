"""The check of a user's function when it is declared: no later bar counts.

Passing is evidence, not proof: a function may look ahead only where the made-up series never leads
it. What passes here is proven on the actual bars while a run goes on (see `proof`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.indicators.function import Family
from streambt_spark.core.indicators.proof import explain, first_difference, scale_of, unsteady
from streambt_spark.core.indicators.python import PythonKernel
from streambt_spark.core.indicators.series import changed_after, series_for
from streambt_spark.errors import LookAheadError, StrategyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from streambt_spark.core.indicators.function import Columns, Function, Outputs
    from streambt_spark.core.indicators.python import PythonKernel
from streambt_spark.core.indicators.series import Series

_FIRST = (1, 2, 3)
_PARTS = (0.17, 0.31, 0.45, 0.5, 0.62, 0.77, 0.91)
_MOST_MARKED = 6
_BRIEFLY = 3


def check_causal(function: Function, columns: int | None = None, *, brief: bool = False) -> None:
    """Raise LookAheadError where a later bar changes an earlier value, be it in the last bit.

    The function runs over made-up series and over their beginnings, with the later rows cut off and
    with other values in their place. `columns` is how many `*columns` it gets; `brief` leaves out
    most of the series. Raises StrategyError where the function itself raises, or gives other values
    when it is called again.
    """
    with np.errstate(all="ignore"):
        for series in series_for(function, columns)[:: _BRIEFLY if brief else 1]:
            try:
                whole = function.evaluate(series.columns)
            except StrategyError:
                if series.gaps and function.family is not Family.CROSS_SECTIONAL:
                    continue  # it may never see a number missing
                raise
            if function.family is Family.ACCUMULATED:
                _check_splits(function, series, whole)
                continue
            _compare(function, whole, function.evaluate(series.columns), len(series), series, "")
            for number, cut in enumerate(_cuts(series, whole)):
                prefix = _evaluate_short(function, [c[:cut] for c in series.columns])
                _compare(function, whole, prefix, cut, series, "cut off")
                if number % 2 == 0:
                    changed = function.evaluate(changed_after(series, cut))
                    _compare(function, whole, changed, cut, series, "changed")


def _cuts(series: Series, whole: Outputs) -> list[int]:
    """Cuts near the ends, in between, after changes of the output and before gaps in time."""
    rows = len(series)
    cuts = {*_FIRST, rows - 2, rows - 1, *(int(rows * part) for part in _PARTS)}
    changes = np.zeros(rows - 1, bool)
    for values in whole:
        flat = values.reshape(rows, -1)
        differ = (flat[1:] != flat[:-1]) & ~(np.isnan(flat[1:]) & np.isnan(flat[:-1]))
        changes |= differ.any(axis=1)
    steps = np.diff(series.ts)
    for marked in (changes, steps > 1.5 * steps.min()):
        indices = np.flatnonzero(marked)
        if len(indices) > _MOST_MARKED:
            indices = indices[np.linspace(0, len(indices) - 1, _MOST_MARKED).astype(int)]
        # A change at row i + 1 may be known too early at row i, or too late at i + 1.
        cuts.update((indices + 1).tolist())
        cuts.update((indices + 2).tolist())
    return sorted(cut for cut in cuts if 0 < cut < rows)


def _check_splits(function: Function, series: Series, whole: Outputs) -> None:
    for cut in _cuts(series, whole):
        carry, one = function.accumulate(None, [c[:cut] for c in series.columns])
        _, two = function.accumulate(carry, [c[cut:] for c in series.columns])
        parts = tuple(np.concatenate(pair) for pair in zip(one, two, strict=True))
        difference = _difference(whole, parts, len(series))
        if difference is not None:
            i, row, old, new = difference
            raise StrategyError(
                f"{function.name}: {function.outputs[i]!r} at row {row} is {old!r} over all rows "
                f"and {new!r} where they are split after {cut} rows: the carry must hold all that "
                "the next rows need, and sums must be made row by row"
            )


def _evaluate_short(function: Function, columns: Columns) -> Outputs:
    try:
        return function.evaluate(columns)
    except StrategyError as error:
        raise StrategyError(
            f"{error}; a stream starts with few rows, here {len(columns[0])}: handle any number, "
            "or declare the lookback with @indicator"
        ) from error.__cause__


def _compare(
    function: Function, whole: Outputs, part: Outputs, cut: int, series: Series, deed: str
) -> None:
    difference = _difference(whole, part, cut)
    if difference is None:
        return
    i, row, old, new = difference
    name = function.outputs[i]
    if not deed:
        raise unsteady(function.name, name)
    where = (
        f"{name!r} at row {row} was {old!r} and is {new!r} with the rows from {cut} on {deed} "
        f"(a series of {series.name})"
    )
    raise LookAheadError(explain(function.name, where, old, new, scale_of(whole[i])))


def _difference(whole: Outputs, part: Outputs, rows: int) -> tuple[int, int, float, float] | None:
    """Return the first (output, row, value, other value) with other bits in the first rows."""
    for i, (full, other) in enumerate(zip(whole, part, strict=True)):
        one, two = _flat(full[:rows]), _flat(other[:rows])
        if np.array_equal(one.view(np.int64), two.view(np.int64)):
            continue
        at = int(first_difference(one, two, 0, len(one)))
        if at >= 0:
            return i, at * rows // len(one), float(one[at]), float(two[at])
    return None


def _flat(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values if values.ndim == 1 else np.ascontiguousarray(values).reshape(-1)


def is_pointwise(function: Function, columns: int | None = None) -> bool:
    """Tell whether a user's function depends at each row on that row alone, by trying it.

    It runs over rows in other orders, over parts of them and over single rows, with numbers missing
    too, and must give every row the same bits. What says more of itself is taken by its word.
    """
    kernel = function.kernel
    if not isinstance(kernel, PythonKernel) or function.family is not Family.ANCHORED:
        return False
    if kernel.declared or kernel.lookback:
        return False
    with np.errstate(all="ignore"):
        try:
            return all(
                _same_rows(kernel, whole, order, series)
                for series in series_for(function, columns)
                for whole in [kernel.values(_rows(series, slice(None)))]
                for order in _orders(len(series))
            )
        except StrategyError:
            return False


def _orders(rows: int) -> Iterator[slice | NDArray[np.intp]]:
    yield slice(None, None, -1)
    yield from (slice(first, first + 1) for first in (0, 1, 40, rows - 1))
    yield from (slice(i, None, 2) for i in range(2))
    yield from (slice(70, 70 + size) for size in (2, 3, 5, 8, 16, 17, 33, 100))
    yield np.argsort(np.arange(rows) * 0.6180339887498949 % 1.0)
    yield np.repeat(np.arange(0, rows, 3), 3)


def _same_rows(
    kernel: PythonKernel,
    whole: Sequence[NDArray[np.float64]],
    order: slice | NDArray[np.intp],
    series: Series,
) -> bool:
    outputs = kernel.values(_rows(series, order))
    return all(
        first_difference(_floats(one[order]), _floats(two), 0, len(two)) < 0
        for one, two in zip(whole, outputs, strict=True)
    )


def _floats(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ascontiguousarray(values, np.float64)


def _rows(series: Series, order: slice | NDArray[np.intp]) -> list[NDArray[np.float64]]:
    columns = [np.ascontiguousarray(column[order]) for column in series.columns]
    for column in columns:
        column.flags.writeable = False
    return columns
