"""The working set of one step of evaluation: the new bars, and the state as it moves on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.indicators.features import Features
from streambt_spark.core.indicators.windows import (
    anchor,
    cells,
    places,
    shift_past,
    sizes_of_past,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.indicators.program import Program
    from streambt_spark.core.market.panel import Panel
    from streambt_spark.core.market.rows import Rows


@dataclass(slots=True, eq=False)
class Step:
    """What the stages of a program read and write.

    Row `slot` of `new` holds a column or an output at the new bars, symbol after symbol, those of
    symbol s from `start[s]` to `start[s + 1]`; `cell` is None where that is the panel itself, else
    the cell of [symbol, slice] of each bar, -1 for a late one. The other arrays are those of
    Features, and change in place.
    """

    program: Program
    before: Features
    panel: Panel
    late: Rows | None
    new: NDArray[np.float64]
    start: NDArray[np.int64]
    cell: NDArray[np.int64] | None
    past_at: NDArray[np.int64]
    past_size: NDArray[np.int64]
    totals: NDArray[np.float64]
    carries: list[NDArray[np.float64]]
    begun: NDArray[np.bool_]
    published: NDArray[np.int64]
    published_panels: NDArray[np.int64]
    witness: list[NDArray[np.float64]]
    _times: NDArray[np.int64] | None = None

    def row(self, slot: int) -> NDArray[np.float64]:
        """Return a slot's values at the new bars; they cannot be written to."""
        view: NDArray[np.float64] = self.new[slot]
        view.flags.writeable = False
        return view

    def by_slice(self, slot: int) -> NDArray[np.float64]:
        """Return a slot's values as float64[T, S], NaN where a symbol has no bar."""
        return np.ascontiguousarray(self.by_symbol(slot).T)

    def by_symbol(self, slot: int) -> NDArray[np.float64]:
        """Return a slot's values as float64[S, T], NaN where a symbol has no bar."""
        slices, symbols = self.panel.present.shape
        if self.cell is None:
            whole: NDArray[np.float64] = self.new[slot].reshape(symbols, slices)
            return whole
        out = np.full(symbols * slices, np.nan)
        in_panel = self.cell >= 0
        out[self.cell[in_panel]] = self.new[slot][in_panel]
        return out.reshape(symbols, slices)

    def spread(self, slot: int, values: NDArray[np.float64]) -> None:
        """Take in a slot's values given by slice, float64[T, S]; a late bar has none."""
        slices, symbols = self.panel.present.shape
        if self.cell is None:
            self.new[slot].reshape(symbols, slices)[:] = values.T
        else:
            in_panel = self.cell >= 0
            self.new[slot][in_panel] = values.T.reshape(-1)[self.cell[in_panel]]
            self.new[slot][~in_panel] = np.nan

    def times(self) -> NDArray[np.int64]:
        """Return the time of each new bar."""
        if self._times is None:
            self._times = self._find_times()
        return self._times

    def _find_times(self) -> NDArray[np.int64]:
        if self.cell is None:
            return np.tile(self.panel.ts, len(self.start) - 1)
        out = np.empty(len(self.cell), np.int64)
        in_panel = self.cell >= 0
        out[in_panel] = self.panel.ts[self.cell[in_panel] % max(1, len(self.panel.ts))]
        if self.late is not None:
            out[~in_panel] = self.late.ts
        return out

    def when(self, symbol: int, bar: int) -> str:
        """Return in words when a symbol's bar is; of bars before this step no time is kept."""
        ago = int(self.before.count[symbol]) - bar
        first = int(self.start[symbol])
        return _when(int(self.times()[first + max(-ago, 0)]), ago)

    def when_slice(self, number: int) -> str:
        """Return in words when a slice is."""
        ago = self.before.slices - number
        return _when(int(self.panel.ts[max(-ago, 0)]), ago)

    def after(self) -> Features:
        """Return the features after the step."""
        program, before = self.program, self.before
        count = before.count + (self.start[1:] - self.start[:-1])
        slices = before.slices + len(self.panel.ts)
        size = sizes_of_past(count, len(program.slots), program.readers)
        past = shift_past(
            self.new, self.start, before.past, self.past_at, self.past_size, places(size), size
        )
        panels = tuple(
            _tail(panel, self, slot, slices - min(anchor(slices, *reader) for reader in readers))
            for panel, slot, readers in zip(
                before.panels, program.panel_slots, program.panel_readers, strict=True
            )
        )
        return Features(
            count, slices, past, panels, self.totals, tuple(self.carries), self.begun,
            self.published, self.published_panels, tuple(self.witness),
        )  # fmt: skip


def open_step(program: Program, features: Features, panel: Panel, late: Rows | None) -> Step:
    """Lay out the new bars and copy what the stages will change."""
    slices, symbols = panel.present.shape
    cell = None
    if (late is None or not len(late)) and panel.complete:
        start = np.arange(symbols + 1) * slices
    else:
        extra = np.zeros(symbols, np.int64)
        if late is not None:
            extra = np.bincount(late.code, minlength=symbols)
        cell = cells(panel.present, extra)
        start = np.append(0, np.cumsum(panel.present.sum(axis=0) + extra))
    size = sizes_of_past(features.count, len(program.slots), program.readers)
    step = Step(
        program, features, panel, late, np.empty((len(program.slots), start[-1])), start, cell,
        places(size), size, features.totals.copy(), list(features.carries), features.begun.copy(),
        features.published.copy(), features.published_panels.copy(), list(features.witness),
    )  # fmt: skip
    for slot, name in program.columns:
        step.spread(slot, panel.column(name))
        if late is not None and cell is not None:
            step.new[slot][cell < 0] = late.ts if name == "ts" else late.column(name)
    return step


def _tail(panel: NDArray[np.float64], step: Step, slot: int, length: int) -> NDArray[np.float64]:
    """Return the last `length` slices of those kept and the new ones."""
    new = step.by_slice(slot)
    if length <= len(new):
        return new[len(new) - length :].copy()
    return np.concatenate((panel[len(panel) + len(new) - length :], new))


def _when(ts: int, ago: int) -> str:
    time = f"{np.datetime64(ts, 'us')} UTC"
    return f"{ago} bars before {time}" if ago > 0 else f"at {time}"
