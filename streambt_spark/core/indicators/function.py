"""A function bound to its parameters: what every indicator is, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Columns = Sequence[NDArray[np.float64]]
    Outputs = tuple[NDArray[np.float64], ...]

M_MIN = 512
"""The least number of bars between two anchors."""


class Family(StrEnum):
    """How a function is streamed.

    ANCHORED: evaluated per symbol over the bars since the anchor. POINTWISE: its value at a row
    depends on that row alone, so it is evaluated over the new rows of all symbols at once.
    ACCUMULATED: carried exactly from bar to bar. CROSS_SECTIONAL: anchored, over panels of time by
    symbol.
    """

    ANCHORED = "anchored"
    POINTWISE = "pointwise"
    ACCUMULATED = "accumulated"
    CROSS_SECTIONAL = "cross_sectional"


class Kernel(Protocol):
    """The evaluation over one window; picklable, without state."""

    def __call__(self, columns: Columns) -> Outputs:
        """Return one float64 array of the columns' shape for each output."""


class Accumulator(Protocol):
    """The evaluation that goes on from a carry, a small float64 vector."""

    def accumulate(
        self, carry: NDArray[np.float64] | None, columns: Columns
    ) -> tuple[NDArray[np.float64] | None, Outputs]:
        """Return the new carry and the outputs over the columns."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function bound to its parameters; equal to and hashed like its identity.

    `identity` holds, as stable text, everything that makes the function what it is. `inputs` names
    the columns in their order, prices by their field. `lookback` counts the bars before the first
    value, `warmup` is W of the anchor rule: the bars before an anchor's span that a value in the
    span may depend on.
    """

    name: str = field(compare=False)
    identity: str
    inputs: tuple[str, ...] = field(compare=False)
    outputs: tuple[str, ...] = field(compare=False)
    params: tuple[tuple[str, object], ...] = field(compare=False)
    family: Family = field(compare=False)
    lookback: int = field(compare=False)
    warmup: int = field(compare=False)
    commutative: bool = field(compare=False)
    kernel: Kernel = field(compare=False, repr=False)

    @property
    def span(self) -> int:
        """M of the anchor rule: the bars from one anchor to the next."""
        return max(M_MIN, self.warmup)

    def evaluate(self, columns: Columns) -> Outputs:
        """Return the outputs over one window, each float64 of the columns' shape.

        Columns are float64[n], or float64[n, symbols] where the function is CROSS_SECTIONAL. Values
        are NaN before the lookback, counted from the first row in which all inputs are numbers.
        Raises StrategyError where a user's function fails.
        """
        return self.kernel(columns)

    def accumulate(
        self, carry: NDArray[np.float64] | None, columns: Columns
    ) -> tuple[NDArray[np.float64] | None, Outputs]:
        """Continue an ACCUMULATED function from `carry` (None before its first row).

        Returns the new carry, a small float64 vector, and the outputs over the columns. Splitting
        the columns anywhere gives the same bits.
        """
        return cast("Accumulator", self.kernel).accumulate(carry, columns)


def first_row(columns: Columns, *, every: bool) -> int:
    """Return the first row in which every (or any) column has a number, else the number of rows."""
    empty = [np.isnan(c) if c.ndim == 1 else np.isnan(c).all(axis=1) for c in columns]
    missing = np.logical_or.reduce(empty) if every else np.logical_and.reduce(empty)
    rows = np.flatnonzero(~missing)
    return int(rows[0]) if len(rows) else len(missing)


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Tell whether two float64 arrays of one shape hold the same bits; one NaN is like another."""
    differ = one.view(np.int64) != other.view(np.int64)
    if not differ.any():
        return True
    return bool(np.isnan(one[differ]).all() and np.isnan(other[differ]).all())
