"""What evaluates a function of TA-Lib through Python; TA-Lib itself need not be loaded for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark.core.indicators.accumulators import accumulate
from streambt_spark.core.indicators.function import first_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from streambt_spark.core.indicators.function import Columns, Outputs


@dataclass(frozen=True, slots=True)
class TalibKernel:
    """One call of a TA-Lib function; its arguments are bound once, in TA-Lib's order."""

    call: Callable[..., Any]
    args: tuple[object, ...]
    lookback: int
    bars_ago: bool

    def __call__(self, columns: Columns) -> Outputs:
        """Return the outputs as float64, NaN before the lookback."""
        begin = 0
        for column in columns:
            if not len(column) or column[0] != column[0]:
                begin = first_row(columns, every=True)
                break
        # TA-Lib's wrapper asks of each argument whether it is a Series, which takes longer than it.
        call = getattr(self.call, "__wrapped__", self.call)
        result = call(*columns, *self.args)
        outputs = result if type(result) is tuple else (result,)
        if begin == len(columns[0]):
            return tuple(np.full(begin, np.nan) for _ in outputs)
        if outputs[-1].dtype == np.float64:
            return outputs
        return tuple(self._as_float(output, begin + self.lookback) for output in outputs)

    def _as_float(self, output: np.ndarray[Any, Any], lookback: int) -> np.ndarray[Any, Any]:
        if output.dtype == np.float64:
            return output
        values = np.arange(len(output)) - output if self.bars_ago else output
        values = values.astype(np.float64)
        values[:lookback] = np.nan
        return values


@dataclass(frozen=True, slots=True)
class AccumulatedKernel:
    """A running total over a window that starts at the first bar."""

    name: str

    def __call__(self, columns: Columns) -> Outputs:
        """Return the total since the window's first bar."""
        return self.accumulate(None, columns)[1]

    def accumulate(
        self, carry: NDArray[np.float64] | None, columns: Columns
    ) -> tuple[NDArray[np.float64], Outputs]:
        """Return the new carry and the totals."""
        carry, values = accumulate(self.name, carry, columns)
        return carry, (values,)
