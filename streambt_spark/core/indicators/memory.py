"""Checks that a function's warm-up holds all that its values depend on.

The anchor rule shows a function the bars since the anchor and no others. A function that depends on
more, such as a running maximum or a latch, would give other values than it does over whole history:
it is refused when it is declared, on made-up series, or before a run, on the actual bars, with the
warm-up that would do, or the accumulated form where none would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.indicators.evaluation import compute
from streambt_spark.core.indicators.features import open_features
from streambt_spark.core.indicators.function import Family
from streambt_spark.core.indicators.graph import Ref
from streambt_spark.core.indicators.program import compile_program
from streambt_spark.core.indicators.python import PythonKernel
from streambt_spark.core.indicators.series import long_series_for
from streambt_spark.core.market.bars import FIELDS
from streambt_spark.core.market.panel import Panel
from streambt_spark.errors import BadParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from streambt_spark.core.indicators.function import Columns, Function
    from streambt_spark.core.indicators.graph import Node
    from streambt_spark.core.indicators.program import Program
    from streambt_spark.core.market.bars import Bars

_TOLERANCE = 1e-6
_GROSS = 1e-3
_DOUBLINGS = 5
SAMPLE = 100_000
"""The most rows of actual bars that memory is tried on."""

_ACCUMULATED = (
    "it depends on every bar since the first, as a running maximum or a latch does: write it as "
    "an accumulated function, @indicator(accumulated=True), f(carry, ...) -> (carry, ...), see "
    "help(streambt_spark.indicator); where some number of bars is enough after all, declare it, "
    "@indicator(warmup=...), and the bars of a run will tell"
)


@dataclass(frozen=True, slots=True)
class Loss:
    """How far the values by the anchor rule are from those over whole history.

    `turned` counts the rows that have another sign, or a number on one side alone, of `rows`;
    `largest` is the greatest difference against the largest size.
    """

    output: int
    rows: int
    turned: int
    largest: float


def check_memory(function: Function, columns: int | None = None) -> None:
    """Raise BadParameter where a value depends on more bars than a warm-up left to the default.

    A warm-up given in `indicator` is the user's word until the actual bars are there; TA-Lib's
    functions have theirs from a table. `columns` is how many `*columns` the function gets.
    """
    kernel, warmup = function.kernel, function.warmup
    if not isinstance(kernel, PythonKernel) or kernel.declared:
        return
    if function.family not in (Family.ANCHORED, Family.CROSS_SECTIONAL):
        return
    rows = 3 * function.span + warmup
    with np.errstate(all="ignore"):
        for series in long_series_for(function, rows, columns):
            loss = _loss(function, series.columns, warmup)
            if loss is not None and (loss.largest > _TOLERANCE or loss.turned):
                more = long_series_for(function, 2 * (warmup << _DOUBLINGS) + 1_000, columns)
                raise BadParameter(
                    f"{function.name}: {function.outputs[loss.output]!r} depends on more than the "
                    f"{warmup} bars of its warm-up (tried on a series, {series.name}); "
                    + _advice(function, [s.columns for s in more])
                )


def check_memory_on(
    program: Program, first: Callable[[int], Bars], rows: int = SAMPLE
) -> list[str]:
    """Compare the users' functions with whole history on actual bars, at most `rows` of them.

    `first` is asked for the first bars, so many or more, where there is such a function. Returns
    what a user should be warned of. Raises BadParameter where a function whose warm-up was left to
    the default loses what its values depend on, LookAheadError where it looks ahead.
    """
    nodes = [node for node in program.nodes if _is_bounded(node.function)]
    if not nodes:
        return []
    wide = any(node.function.family is Family.CROSS_SECTIONAL for node in nodes)
    panel = _panel(_sample(first(rows), rows, whole=wide))
    if len(panel.ts) <= min(node.function.span for node in nodes):
        return []
    outputs = [Ref(n.identity, name) for n in nodes for name in n.function.outputs]
    read = [ref for n in nodes for ref in n.inputs]
    trial = compile_program(program.nodes, [*read, *outputs], prove=False)
    _, values = compute(trial, open_features(trial, len(panel.symbols)), panel)
    warnings = []
    with np.errstate(all="ignore"):
        for node in nodes:
            warning = _judge(node, panel, values, program.results)
            warnings += [warning] if warning else []
    return warnings


def _is_bounded(function: Function) -> bool:
    families = (Family.ANCHORED, Family.CROSS_SECTIONAL)
    return isinstance(function.kernel, PythonKernel) and function.family in families


def _judge(
    node: Node, panel: Panel, values: dict[Ref, NDArray[np.float64]], pulses: Sequence[Ref]
) -> str:
    """Return a warning, or nothing; raise where what is lost is too much."""
    function, kernel = node.function, node.function.kernel
    assert isinstance(kernel, PythonKernel)
    series = list(_columns(node, panel, values))
    losses = [_loss(function, columns, function.warmup) for columns in series]
    worst = max((x for x in losses if x), key=lambda x: (x.turned > 0, x.largest), default=None)
    if worst is None or (worst.largest <= _TOLERANCE and not worst.turned):
        return ""
    turned, rows = (sum(getattr(x, n) for x in losses if x) for n in ("turned", "rows"))
    name = function.outputs[worst.output]
    is_pulse = Ref(node.identity, name) in pulses
    advice = _advice(function, series, actual=True)
    message = (
        f"{function.name}: with the {function.warmup} bars of its warm-up {name!r} is not what it "
        f"is over whole history: on these bars it has another sign at {turned} of {rows} rows and "
        f"is off by {worst.largest:.1g} of its largest value; {advice}"
    )
    grave = turned > 0 if is_pulse else turned > 0 or worst.largest > _GROSS
    if grave and not kernel.declared:
        raise BadParameter(message)
    return message


def _columns(node: Node, panel: Panel, values: dict[Ref, NDArray[np.float64]]) -> Iterator[Columns]:
    """Yield the columns that a node reads: by slice, or of one symbol after the other."""
    inputs = [values[ref] for ref in node.inputs]
    if node.function.family is Family.CROSS_SECTIONAL:
        yield [np.ascontiguousarray(column.T) for column in inputs]
        return
    for s, present in enumerate(panel.present.T):
        if present.any():
            yield [np.ascontiguousarray(column[s][present]) for column in inputs]


def _loss(function: Function, columns: Columns, warmup: int) -> Loss | None:
    """Return how far the anchored values are from whole history's; None where all bars fit."""
    rows, span = len(columns[0]), max(function.span, warmup)
    if rows <= span:
        return None
    whole = function.evaluate(columns)
    pieces = [function.evaluate([column[:span] for column in columns])]
    for start in range(span, rows, span):
        window = function.evaluate([column[start - warmup : start + span] for column in columns])
        pieces.append(tuple(values[warmup:] for values in window))
    worst: Loss | None = None
    for i, parts in enumerate(zip(*pieces, strict=True)):
        loss = _compare(i, whole[i], np.concatenate(parts))
        if worst is None or (loss.turned > 0, loss.largest) > (worst.turned > 0, worst.largest):
            worst = loss
    return worst


def _compare(output: int, whole: NDArray[np.float64], anchored: NDArray[np.float64]) -> Loss:
    lost = np.isnan(whole) != np.isnan(anchored)
    sizes = np.abs(whole[np.isfinite(whole)])
    scale = float(sizes.max()) if sizes.size else 0.0
    off = np.abs(whole - anchored)
    differ = (off > _TOLERANCE * (scale + np.abs(whole))) & ~(whole == anchored)
    turned = lost | (differ & (np.sign(whole) != np.sign(anchored)))
    largest = float(off[differ & np.isfinite(off)].max(initial=0.0)) / scale if scale else 0.0
    return Loss(output, whole.size, int(turned.sum()), max(largest, 1.0 * bool(lost.any())))


def _advice(function: Function, series: Sequence[Columns], *, actual: bool = False) -> str:
    """Return what to do: the least doubling of the warm-up that loses nothing, if there is one."""
    warmup = max(function.warmup, 1)
    for _ in range(_DOUBLINGS):
        warmup *= 2
        long = [columns for columns in series if len(columns[0]) > 2 * max(warmup, function.span)]
        if not long:
            break  # no series is long enough to tell
        losses = [_loss(function, columns, warmup) for columns in long]
        if all(x is None or (x.largest <= _TOLERANCE and not x.turned) for x in losses):
            enough = f"{warmup} bars would do: declare it with @indicator(warmup={warmup})"
            if not actual:
                return f"{enough}, a number of bars or a function of its parameters"
            return (
                f"on these bars {enough}; or {_ACCUMULATED.replace('it depends', 'if it depends')}"
            )
    return _ACCUMULATED


def _sample(bars: Bars, rows: int, *, whole: bool) -> Bars:
    """Return the first bars of all symbols, or of some, evenly chosen."""
    sizes = np.bincount(bars.code, minlength=len(bars.symbols))
    used = np.flatnonzero(sizes)
    if not whole and len(used):
        count = max(1, min(len(used), int(rows // max(sizes[used].mean(), 1))))
        used = used[np.linspace(0, len(used) - 1, count).astype(int)]
    mask = np.zeros(len(bars.symbols), bool)
    mask[used] = True
    bars = bars.take(mask[bars.code]).sorted()
    if len(bars) > rows:
        bars = bars.take(bars.ts <= bars.ts[rows - 1])
    return bars


def _panel(bars: Bars) -> Panel:
    """Return sorted bars as slices, of the symbols that have any."""
    ts, at = np.unique(bars.ts, return_inverse=True)
    used, code = np.unique(bars.code, return_inverse=True)
    present = np.zeros((len(ts), len(used)), bool)
    present[at, code] = True
    columns = []
    for name in FIELDS:
        column = np.full(present.shape, np.nan)
        column[at, code] = getattr(bars, name)
        columns.append(column)
    return Panel(tuple(bars.symbols[i] for i in used), ts, present, *columns)
