"""Features: the values of the graph's nodes over a stream of slices.

The value at a symbol's bar n is the function's value at n over the bars since
anchor(n) = max(0, ⌊n/M⌋·M - W), whatever the portions the bars came in: so every split of the
stream gives the same bits, and only the bars since the anchor are kept. A cross-sectional function
counts slices instead of bars and sees all symbols at once; an accumulated one carries its sums.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.indicators.function import Family, Function
from streambt_spark.core.indicators.graph import BARS, Node, Ref

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.market.panel import Panel


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What must be kept between steps.

    `count` is int64[S], the bars each symbol has shown, and `slices` the slices so far. `history`
    holds, by input, the values of each symbol since the earliest anchor that a reader needs;
    `panels` the same by slice, [time, symbol]; `carry` the sums by accumulated node and symbol.
    """

    count: NDArray[np.int64]
    slices: int
    history: Mapping[Ref, tuple[NDArray[np.float64], ...]]
    panels: Mapping[Ref, NDArray[np.float64]]
    carry: Mapping[str, tuple[NDArray[np.float64] | None, ...]]


def open_features(symbols: int) -> Features:
    """Return the features before the first slice."""
    return Features(np.zeros(symbols, np.int64), 0, {}, {}, {})


def evaluate(
    nodes: Sequence[Node], features: Features, panel: Panel
) -> tuple[Features, dict[Ref, NDArray[np.float64]]]:
    """Return the features after `panel` and the values of every node and of the bars they read.

    Values are float64[S, T], by symbol, for functions want a symbol's bars side by side. A value is
    NaN where the symbol has no bar or the function no value yet.
    """
    total, symbols = panel.present.shape
    values = {
        ref: np.ascontiguousarray(panel.column(ref.output).T)
        for ref in {ref: None for node in nodes for ref in node.inputs if ref.node == BARS}
    }
    where = None if panel.complete else [np.flatnonzero(row) for row in panel.present.T]
    carry = dict(features.carry)
    for node in nodes:
        outputs = tuple(np.full((symbols, total), np.nan) for _ in node.function.outputs)
        columns = [values[ref] for ref in node.inputs]
        if node.function.family is Family.CROSS_SECTIONAL:
            _cross_section(node, features, columns, outputs, panel)
        else:
            carried = carry.get(node.identity, (None,) * symbols)
            after = list(carried)
            for s in range(symbols):
                at = slice(None) if where is None else where[s]
                new = [np.ascontiguousarray(column[s][at]) for column in columns]
                if len(new[0]) == 0:
                    continue
                if node.function.family is Family.ACCUMULATED:
                    after[s], results = node.function.accumulate(carried[s], new)
                else:
                    count = int(features.count[s])
                    past = [
                        _past(features.history, r, s, count, node.function) for r in node.inputs
                    ]
                    results = _windows(node.function, count, len(past[0]), _join(past, new))
                for output, result in zip(outputs, results, strict=True):
                    output[s][at] = result
            if node.function.family is Family.ACCUMULATED:
                carry[node.identity] = tuple(after)
        for name, output in zip(node.function.outputs, outputs, strict=True):
            values[Ref(node.identity, name)] = output
    return _keep(nodes, features, panel, values, carry, where), values


def anchor(n: int, function: Function) -> int:
    """Return the first bar that the value at bar n is computed from."""
    return _anchor(n, function.span, function.warmup)


def _anchor(n: int, span: int, warmup: int) -> int:
    return max(0, n // span * span - warmup)


def _past(
    history: Mapping[Ref, tuple[NDArray[np.float64], ...]],
    ref: Ref,
    symbol: int,
    count: int,
    function: Function,
) -> NDArray[np.float64]:
    """Return a symbol's values from the anchor of bar `count` up to that bar."""
    if ref not in history:
        return np.empty(0)
    return _last(history[ref][symbol], count - anchor(count, function))


def _last(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    return values[len(values) - length :]


def _join(
    past: Sequence[NDArray[np.float64]], new: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    return [n if len(p) == 0 else np.concatenate((p, n)) for p, n in zip(past, new, strict=True)]


def _windows(
    function: Function, count: int, kept: int, columns: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], ...]:
    """Evaluate window by window; row `kept` of the columns is bar (or slice) `count`."""
    first, last = count - kept, count + len(columns[0]) - kept
    span, warmup = function.span, function.warmup
    pieces: list[list[NDArray[np.float64]]] = [[] for _ in function.outputs]
    start = count
    while start < last:
        stop = min(last, (start // span + 1) * span)
        base = _anchor(start, span, warmup)
        window = [column[base - first : stop - first] for column in columns]
        for piece, result in zip(pieces, function.evaluate(window), strict=True):
            piece.append(result[start - base :])
        start = stop
    return tuple(p[0] if len(p) == 1 else np.concatenate(p) for p in pieces)


def _cross_section(
    node: Node,
    features: Features,
    columns: Sequence[NDArray[np.float64]],
    outputs: Sequence[NDArray[np.float64]],
    panel: Panel,
) -> None:
    if len(panel.ts) == 0:
        return
    length = features.slices - anchor(features.slices, node.function)
    past = [
        _last(features.panels[ref], length) if ref in features.panels else column.T[:0]
        for ref, column in zip(node.inputs, columns, strict=True)
    ]
    new = [np.ascontiguousarray(column.T) for column in columns]
    results = _windows(node.function, features.slices, len(past[0]), _join(past, new))
    for output, result in zip(outputs, results, strict=True):
        output[:] = np.where(panel.present, result, np.nan).T


def _readers(nodes: Iterable[Node], *, across: bool) -> dict[Ref, list[Function]]:
    """Return, by input, the functions that need its past: those that see all symbols, or not."""
    readers: dict[Ref, list[Function]] = defaultdict(list)
    wanted = Family.CROSS_SECTIONAL if across else Family.ANCHORED
    for node in nodes:
        if node.function.family is wanted:
            for ref in node.inputs:
                readers[ref].append(node.function)
    return readers


def _keep(
    nodes: Sequence[Node],
    features: Features,
    panel: Panel,
    values: Mapping[Ref, NDArray[np.float64]],
    carry: Mapping[str, tuple[NDArray[np.float64] | None, ...]],
    where: Sequence[NDArray[np.intp]] | None,
) -> Features:
    total, symbols = panel.present.shape
    count = features.count + panel.present.sum(axis=0)
    slices = features.slices + total
    history = {}
    for ref, functions in _readers(nodes, across=False).items():
        kept = []
        for s in range(symbols):
            new = values[ref][s] if where is None else values[ref][s][where[s]]
            past = features.history[ref][s] if ref in features.history else new[:0]
            length = int(count[s]) - min(anchor(int(count[s]), f) for f in functions)
            kept.append(_tail(past, new, length))
        history[ref] = tuple(kept)
    panels = {}
    for ref, functions in _readers(nodes, across=True).items():
        past = features.panels[ref] if ref in features.panels else values[ref].T[:0]
        length = slices - min(anchor(slices, f) for f in functions)
        panels[ref] = _tail(past, values[ref].T, length)
    return Features(count, slices, history, panels, carry)


def _tail(past: NDArray[np.float64], new: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Return a copy of the last `length` rows of past followed by new."""
    if length <= len(new):
        return np.array(_last(new, length), order="C")
    return np.concatenate((_last(past, length - len(new)), new))
