"""The stages of a program: how each family of functions is evaluated over the new bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from streambt_spark.core.indicators import proof
from streambt_spark.core.indicators.python import CarryingKernel, PythonKernel
from streambt_spark.core.indicators.windows import (
    anchor,
    join,
    leading,
    list_windows,
    run_native,
    run_totals,
)
from streambt_spark.errors import LookAheadError, StrategyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from streambt_spark.core.indicators.function import Columns, Outputs
    from streambt_spark.core.indicators.graph import Node
    from streambt_spark.core.indicators.step import Step

_ROWS_AT_ONCE = 65_536
"""What a pointwise function sees in one call: enough to spread its cost, and still in the cache."""

_WITNESSES = 15
"""How many rows of one symbol are kept to be evaluated again by a pointwise function."""

_JOINED_AT_ONCE = 262_144
"""How many rows of windows are laid side by side at once."""


class Stage(Protocol):
    """Nodes that are evaluated together."""

    def run(self, step: Step) -> None:
        """Evaluate the nodes over the new bars of a step, into their slots."""


@dataclass(frozen=True, slots=True, eq=False)
class Native:
    """Anchored functions of TA-Lib, in one compiled loop."""

    nodes: NDArray[np.void]

    def run(self, step: Step) -> None:
        """Evaluate all of them. Raises StrategyError where TA-Lib refuses, as it never should."""
        longest = int((self.nodes["span"] + self.nodes["warmup"]).max())
        failed = run_native(
            self.nodes, step.new, step.start, step.before.count, step.before.past,
            step.past_at, step.past_size, longest,
        )  # fmt: skip
        if failed >= 0:
            raise StrategyError(f"TA-Lib failed in the {failed + 1}. function of a stage")


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """Running totals of TA-Lib in one compiled loop; `first` is the place of their first."""

    nodes: NDArray[np.void]
    first: int

    def run(self, step: Step) -> None:
        """Add the new bars to all of them."""
        totals = step.totals[self.first : self.first + len(self.nodes)]
        run_totals(self.nodes, step.new, step.start, totals)


@dataclass(frozen=True, slots=True, eq=False)
class Pointwise:
    """A function whose value at a row depends on that row alone, over all rows at once.

    The rows of a symbol before its first number in any column have no value. As for the others that
    follow, `share` is the part of the run-time proof's checks that falls to the node.
    """

    node: Node
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    begun: int
    witness: int
    share: float

    def run(self, step: Step) -> None:
        """Evaluate it over the new bars of all symbols, some ten thousand at a time."""
        columns = [step.row(slot) for slot in self.inputs]
        outputs = [step.new[slot] for slot in self.outputs]
        mask = self._mask(step)
        if mask is None:
            self._fill(columns, outputs)
        else:
            results = [np.empty(int(mask.sum())) for _ in outputs]
            self._fill([column[mask] for column in columns], results)
            for output, values in zip(outputs, results, strict=True):
                output[mask] = values
                output[~mask] = np.nan
        slices, symbols = step.panel.present.shape
        if self.share and proof.is_due(self._seed, step.before.slices, slices, symbols):
            self._prove(step, columns, outputs, mask)

    @property
    def _seed(self) -> int:
        return proof.seed_of(self.node.identity)

    def _prove(
        self,
        step: Step,
        columns: list[NDArray[np.float64]],
        outputs: list[NDArray[np.float64]],
        mask: NDArray[np.bool_] | None,
    ) -> None:
        """Evaluate rows again in another company: every other one, backwards."""
        seed, slices, symbols = self._seed, step.before.slices, len(step.start) - 1
        known = None if mask is None else np.flatnonzero(mask)
        total = len(columns[0]) if known is None else len(known)
        size = proof.rows_to_check(slices, symbols, total, self.share)
        first = int(proof.uniform(seed, 2, slices) * (total - size))
        rows = np.arange(first, first + size)
        s = seed % symbols
        own = np.arange(max(step.start[s], step.start[s + 1] - _WITNESSES), step.start[s + 1])
        if known is not None and mask is not None:
            rows, own = known[rows], own[mask[own]]
        table = (*columns, *outputs)
        values = np.array([column[own] for column in table])
        witness = np.concatenate((step.witness[self.witness], values), axis=1)
        self._compare(step, witness[:, ::-1], None)
        if len(rows) > 1:
            for part in (rows[::-2], rows[-2::-2]):
                self._compare(step, np.array([column[part] for column in table]), part)
        step.witness[self.witness] = witness[:, -_WITNESSES:]

    def _compare(
        self, step: Step, values: NDArray[np.float64], rows: NDArray[np.intp] | None
    ) -> None:
        kernel, taken = self.node.function.kernel, len(self.inputs)
        assert isinstance(kernel, PythonKernel)
        if not values.shape[1]:
            return
        columns = np.ascontiguousarray(values[:taken])
        columns.flags.writeable = False
        outputs = kernel.values(list(columns))
        for name, again, published in zip(kernel.outputs, outputs, values[taken:], strict=True):
            other = np.ascontiguousarray(again, np.float64)
            row = proof.first_difference(np.ascontiguousarray(published), other, 0, len(other))
            if row >= 0:
                once_more = np.ascontiguousarray(kernel.values(list(columns)), np.float64)
                first = np.array(outputs, np.float64)
                if proof.find_difference(once_more, first, 0, len(other))[1] >= 0:
                    raise proof.unsteady(kernel.name, name)
                at = None if rows is None else int(rows[row])
                raise self._moved(step, name, at, float(published[row]), float(other[row]))

    def _moved(
        self, step: Step, output: str, at: int | None, old: float, new: float
    ) -> LookAheadError:
        symbols, name = step.panel.symbols, self.node.function.name
        s = self._seed % len(symbols)
        where = f"{output!r} of {symbols[s]}"
        if at is not None:
            s = int(np.searchsorted(step.start, at, side="right")) - 1
            bar = int(step.before.count[s] - step.start[s]) + at
            where = f"{output!r} of {symbols[s]} {step.when(s, bar)}"
        return LookAheadError(
            f"{name}: {where} was {old!r} and is {new!r} among other rows; it seemed to depend on "
            "its own row alone and does not: declare a lookback or a warmup with @indicator, and "
            "use no row after the one that a value is for; the run was stopped"
        )

    def _mask(self, step: Step) -> NDArray[np.bool_] | None:
        """Return which rows have a value, None for all."""
        begun = step.begun[self.begun]
        if begun.all():
            return None
        hidden = leading(step.new, np.array(self.inputs), step.start, begun)
        if not hidden.any():
            return None
        mask = np.ones(step.new.shape[1], bool)
        for first, size in zip(step.start, hidden, strict=False):
            mask[first : first + size] = False
        return mask

    def _fill(self, columns: list[NDArray[np.float64]], outputs: list[NDArray[np.float64]]) -> None:
        kernel = self.node.function.kernel
        assert isinstance(kernel, PythonKernel)
        for first in range(0, len(columns[0]), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            inputs = [column[part] for column in columns]
            for column in inputs:
                column.flags.writeable = False
            for output, values in zip(outputs, kernel.values(inputs), strict=True):
                output[part] = values


@dataclass(frozen=True, slots=True, eq=False)
class Windowed:
    """A function that is called for each window of each symbol.

    `published` is the place of its first output's hashes in the features.
    """

    node: Node
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    published: int
    share: float

    def run(self, step: Step) -> None:
        """Evaluate it window by window, and prove that earlier values stay."""
        function, kernel = self.node.function, self.node.function.kernel
        lookback = kernel.lookback if isinstance(kernel, PythonKernel) else 0
        count = step.before.count
        windows = list_windows(count, step.start, function.span, function.warmup)
        for group in _portions(windows):
            columns = join(
                group, np.array(self.inputs), lookback > 0, step.new, step.start, count,
                step.before.past, step.past_at, step.past_size,
            )  # fmt: skip
            columns.flags.writeable = False
            results = np.full((len(self.outputs), columns.shape[1]), np.nan)
            for at, begin, rows in _places(group):
                self._call(columns, results, at, begin, rows)
            for i, slot in enumerate(self.outputs):
                wrong = proof.publish(
                    group, function.span, results[i], step.new[slot], step.start, count,
                    step.published[self.published + i],
                )  # fmt: skip
                if wrong >= 0:
                    self._accuse(step, columns, results, group[wrong])
            if isinstance(kernel, PythonKernel) and self.share:
                self._prove(step, group, columns, results)

    def _call(
        self,
        columns: NDArray[np.float64],
        results: NDArray[np.float64],
        at: int,
        begin: int,
        rows: int,
    ) -> None:
        """Evaluate a window's rows that lie at `at`; the rows without a value stay as they are."""
        kernel = self.node.function.kernel
        lookback = 0
        if isinstance(kernel, PythonKernel):
            lookback = kernel.lookback
            if begin + lookback >= rows:
                return
            inputs = [column[at + begin : at + rows] for column in columns]
            outputs = kernel.values(inputs)
        else:  # a kernel that tells by itself where its values begin
            begin = 0
            outputs = kernel([column[at : at + rows] for column in columns])
        for output, values in zip(results, outputs, strict=True):
            output[at + begin + lookback : at + rows] = values[lookback:]

    def _prove(
        self,
        step: Step,
        windows: NDArray[np.void],
        columns: NDArray[np.float64],
        results: NDArray[np.float64],
    ) -> None:
        span, seed = self.node.function.span, proof.seed_of(self.node.identity)
        if int((windows["stop"] - windows["first"]).max(initial=0)) < 2:
            return  # every row ends a step, and was just proven
        times = step.panel.ts if step.cell is None else step.times()
        cuts = proof.choose_cuts(
            windows, span, results, times, step.start, step.before.count, seed, self.share
        )
        again = np.empty_like(results) if len(cuts) else results
        listed = windows.tolist()
        for k, n in cuts.tolist():
            self._compare(step, listed[k], n + 1, columns, results, again)

    def _compare(
        self,
        step: Step,
        window: tuple[int, ...],
        stop: int,
        columns: NDArray[np.float64],
        results: NDArray[np.float64],
        again: NDArray[np.float64],
    ) -> None:
        """Evaluate a window up to bar `stop` and raise where a published value differs."""
        s, first, since, _, at, begin = window
        function, end = self.node.function, at + stop - since
        again[:, at:end] = np.nan
        self._call(columns, again, at, begin, stop - since)
        published = at + first // function.span * function.span - since
        i, row = proof.find_difference(again, results, published, end)
        if row >= 0:
            once_more = np.full_like(again, np.nan)
            self._call(columns, once_more, at, begin, stop - since)
            if proof.find_difference(again, once_more, published, end)[1] >= 0:
                raise proof.unsteady(function.name, function.outputs[i])
            raise proof.moved(
                function.name, function.outputs[i], step.panel.symbols[s],
                step.when(s, since + row - at), float(again[i, row]), float(results[i, row]),
                proof.scale_of(results[i, at:end]),
            )  # fmt: skip

    def _accuse(
        self,
        step: Step,
        columns: NDArray[np.float64],
        results: NDArray[np.float64],
        window: NDArray[np.void],
    ) -> None:
        """Raise the error for a window whose earlier values are not those published."""
        again = np.empty_like(results)
        listed: Any = window.item()
        self._compare(step, listed, int(window["first"]), columns, results, again)
        raise proof.unsteady(self.node.function.name, self.node.function.outputs[0])


def _portions(windows: NDArray[np.void]) -> Iterator[NDArray[np.void]]:
    """Yield windows in groups of about _JOINED_AT_ONCE rows."""
    first = 0
    while first < len(windows):
        until = windows["at"][first] + _JOINED_AT_ONCE
        last = max(int(np.searchsorted(windows["at"], until)), first + 1)
        yield windows[first:last]
        first = last


def _places(windows: NDArray[np.void]) -> Iterator[tuple[int, int, int]]:
    """Yield of each window where it lies, where its numbers begin, and how many rows it has."""
    rows = (windows["stop"] - windows["since"]).tolist()
    return zip(windows["at"].tolist(), windows["begin"].tolist(), rows, strict=True)


@dataclass(frozen=True, slots=True, eq=False)
class Carrying:
    """A user's accumulated function: it goes on from what it carried."""

    node: Node
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    carry: int
    begun: int
    share: float

    def run(self, step: Step) -> None:
        """Evaluate it over the new bars, symbol by symbol."""
        kernel = self.node.function.kernel
        assert isinstance(kernel, CarryingKernel)
        begun, carries = step.begun[self.begun], step.carries[self.carry].copy()
        slices, symbols = step.panel.present.shape
        due = self.share and proof.is_due(self._seed, step.before.slices, slices, symbols)
        for s in np.flatnonzero(np.diff(step.start)):
            part = slice(step.start[s], step.start[s + 1])
            before = carries[s] if begun[s] else None
            columns = [step.row(i)[part] for i in self.inputs]
            carry, outputs = kernel.accumulate(before, columns)
            if due:
                self._prove(step, int(s), before, columns, outputs)
            for slot, values in zip(self.outputs, outputs, strict=True):
                step.new[slot, part] = values
            if carry is None:
                continue
            if carries.shape[1] != len(carry):
                if begun.any():
                    raise StrategyError(
                        f"{kernel.name}: the carry has {len(carry)} numbers for one symbol and "
                        f"{carries.shape[1]} for another; it must always have as many"
                    )
                carries = np.zeros((len(carries), len(carry)))
            carries[s], begun[s] = carry, True
        step.carries[self.carry] = carries

    @property
    def _seed(self) -> int:
        return proof.seed_of(self.node.identity)

    def _prove(
        self,
        step: Step,
        s: int,
        carry: NDArray[np.float64] | None,
        columns: list[NDArray[np.float64]],
        outputs: tuple[NDArray[np.float64], ...],
    ) -> None:
        """Evaluate the symbol's new bars again in two parts."""
        kernel = self.node.function.kernel
        assert isinstance(kernel, CarryingKernel)
        rows = len(columns[0])
        cut = int(proof.uniform(self._seed, s, step.before.slices) * rows)
        carry, one = kernel.accumulate(carry, [column[:cut] for column in columns])
        _, two = kernel.accumulate(carry, [column[cut:] for column in columns])
        for name, whole, *parts in zip(kernel.outputs, outputs, one, two, strict=True):
            split = np.concatenate(parts)
            row = proof.first_difference(split, whole, 0, rows)
            if row >= 0:
                when = step.when(s, int(step.before.count[s]) + row)
                raise proof.moved(
                    kernel.name, name, step.panel.symbols[s], when, float(split[row]),
                    float(whole[row]), proof.scale_of(whole),
                )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Across:
    """A function across symbols: it sees panels, float64[time, symbol], window by window."""

    node: Node
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    published: int
    share: float

    def run(self, step: Step) -> None:
        """Evaluate it over the new slices, and prove that earlier values stay."""
        function = self.node.function
        t = first = step.before.slices
        last = first + len(step.panel.ts)
        old = first - anchor(first, function.span, function.warmup)
        columns = [self._column(step, slot, old) for slot in self.inputs]
        results = [np.empty(step.panel.present.shape) for _ in self.outputs]
        while t < last:
            since = anchor(t, function.span, function.warmup)
            stop = min(last, (t // function.span + 1) * function.span)
            window = [column[since + old - first : stop + old - first] for column in columns]
            outputs = function.evaluate(window)
            self._publish(step, window, outputs, since, t, stop)
            for result, values in zip(results, outputs, strict=True):
                result[t - first : stop - first] = values[t - since :]
            t = stop
        for slot, result in zip(self.outputs, results, strict=True):
            step.spread(slot, np.where(step.panel.present, result, np.nan))

    def _column(self, step: Step, slot: int, old: int) -> NDArray[np.float64]:
        panel = step.before.panels[step.program.panel_slots.index(slot)]
        return np.concatenate((panel[len(panel) - old :], step.by_slice(slot)))

    def _publish(
        self, step: Step, window: Columns, outputs: Outputs, since: int, first: int, stop: int
    ) -> None:
        """See that a window's slices before `first` are those published, and cut it at others."""
        span, symbols = self.node.function.span, len(step.panel.symbols)
        begin = first // span * span
        for i, values in enumerate(outputs):
            known = step.published_panels[self.published + i]
            if first > begin and proof.hash_of(values[begin - since : first - since]) != known:
                self._compare(step, window, outputs, since, first)
                raise proof.unsteady(self.node.function.name, self.node.function.outputs[i])
            part = values[begin - since : stop - since]
            step.published_panels[self.published + i] = proof.hash_of(part) if stop % span else 0
        if not self.share:
            return
        changed = np.zeros(stop - first, bool)
        for values in outputs:
            rows = values[first - since :]
            changed[1:] |= ~_alike(rows[1:], rows[:-1]).all(axis=1)
        seed = proof.seed_of(self.node.identity)
        for n in proof.chosen_slices(first, stop, symbols, seed, self.share, changed):
            self._compare(step, window, outputs, since, n + 1)

    def _compare(
        self, step: Step, window: Columns, outputs: Outputs, since: int, stop: int
    ) -> None:
        """Evaluate a window up to slice `stop` and raise where a published value differs."""
        function = self.node.function
        begin = max(since, (stop - 1) // function.span * function.span) - since
        again = function.evaluate([column[: stop - since] for column in window])
        for name, old, new in zip(function.outputs, again, outputs, strict=True):
            differ = ~_alike(old[begin:], new[begin : stop - since])
            if differ.any():
                once_more = function.evaluate([column[: stop - since] for column in window])
                if not all(_alike(a, b).all() for a, b in zip(again, once_more, strict=True)):
                    raise proof.unsteady(function.name, name)
                row, s = (int(i) for i in np.argwhere(differ)[0])
                when = step.when_slice(since + begin + row)
                raise proof.moved(
                    function.name, name, step.panel.symbols[s], when,
                    float(old[begin + row, s]), float(new[begin + row, s]), proof.scale_of(new),
                )  # fmt: skip


def _alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where two arrays hold the same bits, one NaN like another."""
    equal = np.ascontiguousarray(one).view(np.int64) == np.ascontiguousarray(other).view(np.int64)
    alike: NDArray[np.bool_] = equal | (np.isnan(one) & np.isnan(other))
    return alike
