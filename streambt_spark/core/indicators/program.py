"""A program: the nodes of a plan, compiled once for the many steps that evaluate them.

What a step needs is laid out in advance: a slot for each column and output, the functions of TA-Lib
as a table that one compiled loop works through, the user's functions each as a stage of its own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark.core.indicators import native
from streambt_spark.core.indicators.accumulators import ACCUMULATED
from streambt_spark.core.indicators.function import Family
from streambt_spark.core.indicators.graph import BARS, Node, Ref
from streambt_spark.core.indicators.kernels import AccumulatedKernel, TalibKernel
from streambt_spark.core.indicators.python import PythonKernel
from streambt_spark.core.indicators.stages import (
    Across,
    Carrying,
    Native,
    Pointwise,
    Totals,
    Windowed,
)
from streambt_spark.core.indicators.windows import (
    BARS_AGO,
    COLUMNS,
    INTEGER,
    NODE,
    OUTPUTS,
    READER,
    REAL,
    TOTAL,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from streambt_spark.core.indicators.python import PythonKernel
from streambt_spark.core.indicators.stages import Stage


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """The stages in order, and the layout of what they read and write.

    `slots` numbers the columns and outputs, `columns` are those of the bars. `readers` tells which
    slots have a past that is read per symbol, `panel_slots` and `panel_readers` (span and warm-up)
    which across symbols. The counts size the features. A program holds addresses of this process:
    it is pickled as its nodes and compiled again.
    """

    nodes: tuple[Node, ...]
    results: tuple[Ref, ...]
    slots: Mapping[Ref, int]
    columns: tuple[tuple[int, str], ...]
    stages: tuple[Stage, ...]
    readers: NDArray[np.void]
    panel_slots: tuple[int, ...]
    panel_readers: tuple[tuple[tuple[int, int], ...], ...]
    totals: int
    carries: int
    beginners: int
    published: int
    published_panels: int
    witnesses: tuple[int, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return compile_program, (self.nodes, self.results)


def compile_program(
    nodes: Sequence[Node], results: Iterable[Ref] | None = None, *, prove: bool = True
) -> Program:
    """Compile nodes, each after those it reads; `results` are the values to return, else all.

    Without `prove` the run-time proof checks but what is evaluated again anyway.
    """
    outputs = [Ref(n.identity, name) for n in nodes for name in n.function.outputs]
    asked = tuple(dict.fromkeys(outputs if results is None else results))
    bars = dict.fromkeys(r for n in nodes for r in n.inputs if r.node == BARS)
    bars |= dict.fromkeys(ref for ref in asked if ref.node == BARS)
    slots = {ref: slot for slot, ref in enumerate((*bars, *outputs))}
    layout = _Layout(slots, Counter(_code(node) for node in nodes) if prove else {})
    stages = [layout.stage(group) for group in _groups(nodes)]
    across: dict[int, list[tuple[int, int]]] = {}
    past: dict[tuple[int, int, int], None] = {}
    for node in nodes:
        function = node.function
        for ref in node.inputs:
            if function.family is Family.CROSS_SECTIONAL:
                readers = across.setdefault(slots[ref], [])
                readers.append((function.span, function.warmup))
            elif function.family is Family.ANCHORED:
                past[slots[ref], function.span, function.warmup] = None
    return Program(
        tuple(nodes),
        asked,
        slots,
        tuple((slot, ref.output) for ref, slot in slots.items() if ref.node == BARS),
        tuple(stages),
        np.array(list(past), READER),
        tuple(across),
        tuple(tuple(dict.fromkeys(readers)) for readers in across.values()),
        layout.totals,
        layout.carries,
        layout.beginners,
        layout.published,
        layout.published_panels,
        tuple(layout.witnesses),
    )


@dataclass(slots=True)
class _Layout:
    """Numbers what the stages keep in the features."""

    slots: Mapping[Ref, int]
    codes: Mapping[str, int]
    totals: int = 0
    carries: int = 0
    beginners: int = 0
    published: int = 0
    published_panels: int = 0
    witnesses: list[int] = field(default_factory=list)

    def stage(self, nodes: Sequence[Node]) -> Stage:
        """Return the stage of a group of nodes."""
        if _is_native(nodes[0]):
            return Native(np.array([self._native(node) for node in nodes], NODE))
        if _is_total(nodes[0]):
            self.totals += len(nodes)
            rows = [self._total(node) for node in nodes]
            return Totals(np.array(rows, TOTAL), self.totals - len(nodes))
        (node,) = nodes
        function, share = node.function, 1 / self.codes[_code(node)] if self.codes else 0.0
        inputs = tuple(self.slots[ref] for ref in node.inputs)
        outputs = tuple(self.slots[Ref(node.identity, name)] for name in function.outputs)
        if function.family is Family.POINTWISE:
            self.beginners += 1
            self.witnesses.append(len(inputs) + len(outputs))
            begun, witness = self.beginners - 1, len(self.witnesses) - 1
            return Pointwise(node, inputs, outputs, begun, witness, share)
        if function.family is Family.ACCUMULATED:
            self.carries, self.beginners = self.carries + 1, self.beginners + 1
            return Carrying(node, inputs, outputs, self.carries - 1, self.beginners - 1, share)
        if function.family is Family.CROSS_SECTIONAL:
            self.published_panels += len(outputs)
            return Across(node, inputs, outputs, self.published_panels - len(outputs), share)
        self.published += len(outputs)
        return Windowed(node, inputs, outputs, self.published - len(outputs), share)

    def _native(self, node: Node) -> tuple[Any, ...]:
        function, kernel = node.function, node.function.kernel
        slots = [self.slots[ref] for ref in node.inputs]
        outputs = [self.slots[Ref(node.identity, name)] for name in function.outputs]
        bound = _binding(node)
        assert isinstance(kernel, TalibKernel)
        assert bound is not None
        whole = BARS_AGO if kernel.bars_ago else INTEGER
        kinds = [whole if integer else REAL for integer in bound.integers]
        return (
            bound.holder, function.span, function.warmup, function.lookback,
            len(slots), len(outputs), _padded(slots, COLUMNS),
            _padded([number for number, _ in bound.inputs], COLUMNS),
            _padded([place for _, place in bound.inputs], COLUMNS),
            _padded(outputs, OUTPUTS), _padded(kinds, OUTPUTS),
        )  # fmt: skip

    def _total(self, node: Node) -> tuple[Any, ...]:
        slots = [self.slots[ref] for ref in node.inputs]
        (output,) = node.function.outputs
        code = ACCUMULATED.index(node.function.name)
        return code, len(slots), _padded(slots, COLUMNS), self.slots[Ref(node.identity, output)]


def _code(node: Node) -> str:
    """Return what the nodes of one function share, whatever their parameters."""
    kernel = node.function.kernel
    return kernel.what if isinstance(kernel, PythonKernel) else node.function.name


def _groups(nodes: Sequence[Node]) -> list[list[Node]]:
    """Return the nodes in an order that keeps inputs first.

    Those of TA-Lib stand together where they can, each user's function alone.
    """
    groups: list[list[Node]] = []
    waiting, done = list(nodes), {BARS}
    while waiting:
        for kind in (_is_total, _is_native):
            together = []
            for node in waiting:
                if kind(node) and all(ref.node in done for ref in node.inputs):
                    together.append(node)
                    done.add(node.identity)
            groups += [together] if together else []
            waiting = [node for node in waiting if node.identity not in done]
        others = [n for n in waiting if not _is_total(n) and not _is_native(n)]
        ready = [n for n in others if all(ref.node in done for ref in n.inputs)]
        groups += [[node] for node in ready]
        done.update(node.identity for node in ready)
        waiting = [node for node in waiting if node.identity not in done]
    return groups


def _is_total(node: Node) -> bool:
    return isinstance(node.function.kernel, AccumulatedKernel)


def _is_native(node: Node) -> bool:
    return _binding(node) is not None


def _binding(node: Node) -> native.Binding | None:
    function, kernel = node.function, node.function.kernel
    if not isinstance(kernel, TalibKernel):
        return None
    return native.binding(function.name, kernel.args, len(function.inputs), len(function.outputs))


def _padded(values: Sequence[int], size: int) -> tuple[int, ...]:
    return (*values, *(0,) * (size - len(values)))
