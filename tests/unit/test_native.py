"""TA-Lib's C functions called directly: the bits of the Python wrapper, in any windows."""

from __future__ import annotations

import numpy as np
import pytest
import talib

from streambt_spark.core.indicators import native, program
from streambt_spark.core.indicators.evaluation import compute
from streambt_spark.core.indicators.features import open_features
from streambt_spark.core.indicators.graph import DATA, Graph, Node, Ref, compile_graph
from streambt_spark.core.indicators.library import resolve
from streambt_spark.core.indicators.program import compile_program
from streambt_spark.core.indicators.stages import Native, Totals, Windowed
from streambt_spark.core.indicators.talib import NAMES
from streambt_spark.core.indicators.windows import anchor
from streambt_spark.core.market.panel import Panel
from streambt_spark.errors import BadParameter

LENGTH, SYMBOLS, DAY = 700, 3, 86_400_000_000
SLOW: tuple[tuple[str, dict[str, object]], ...] = (
    ("SAR", {"acceleration": 0.002}),
    ("STOCH", {"slowk_matype": "DEMA"}),
    ("MA", {"matype": 8}),
)
Values = dict[Ref, np.ndarray]


def panel(seed: int = 3) -> Panel:
    """Return bars of three symbols, with gaps in the second and a late start of the third."""
    random = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.01, (LENGTH, SYMBOLS)), axis=0))
    opened = close * np.exp(random.normal(0, 0.004, close.shape))
    high, low = np.maximum(opened, close) * 1.003, np.minimum(opened, close) * 0.997
    volume = np.round(random.lognormal(9, 1, close.shape))
    present = np.ones(close.shape, bool)
    present[random.random(LENGTH) < 0.2, 1] = False
    present[:60, 2] = False
    fields = (np.where(present, column, np.nan) for column in (opened, high, low, close, volume))
    return Panel(("A", "B", "C"), (np.arange(LENGTH) + 1) * DAY, present, *fields)


def part(whole: Panel, rows: slice) -> Panel:
    """Return some slices."""
    names = ("open", "high", "low", "close", "volume")
    columns = (np.ascontiguousarray(getattr(whole, name)[rows]) for name in names)
    return Panel(whole.symbols, whole.ts[rows], whole.present[rows].copy(), *columns)


@pytest.fixture(scope="module")
def nodes() -> tuple[Node, ...]:
    """Every function of TA-Lib, some with other parameters, one that reads NaN at its head."""
    graph = Graph()
    first = graph.add(resolve("RSI", {"timeperiod": 9}), [DATA["close"]])
    functions = [resolve(name, {}) for name in sorted(NAMES)]
    functions += [resolve(name, params) for name, params in SLOW]
    for function in functions:
        stand_in = {"real0": "high", "real1": "low", "periods": "volume", "close": "close"}
        columns = [stand_in.get(name, name) for name in function.inputs]
        graph.add(function, [DATA[name] for name in columns])
        graph.add(function, [first["real"], *(DATA[name] for name in columns[1:])])
    return compile_graph(graph).nodes


def run(nodes: tuple[Node, ...], cuts: tuple[int, ...] = ()) -> Values:
    """Return all values, evaluated in portions that end at the cuts."""
    compiled, whole = compile_program(nodes), panel()
    features, pieces = open_features(compiled, SYMBOLS), []
    for first, last in zip((0, *cuts), (*cuts, LENGTH), strict=True):
        features, values = compute(compiled, features, part(whole, slice(first, last)))
        pieces.append(values)
    return {ref: np.concatenate([p[ref] for p in pieces], axis=1) for ref in pieces[0]}


def expected(nodes: tuple[Node, ...]) -> Values:
    """Return the values by the Python wrapper, called for each window of each symbol."""
    whole = panel()
    values: Values = {}
    for node in nodes:
        function = node.function
        columns = [
            whole.column(ref.output).T if ref.node == "bars" else values[ref] for ref in node.inputs
        ]
        outputs = [np.full((SYMBOLS, LENGTH), np.nan) for _ in function.outputs]
        for s in range(SYMBOLS):
            at = np.flatnonzero(whole.present[:, s])
            own = [np.ascontiguousarray(column[s][at]) for column in columns]
            step = len(at) if function.family == "accumulated" else function.span
            for t in range(0, len(at), step):
                since = anchor(t, step, function.warmup)
                window = [column[since : t + step].copy() for column in own]
                for output, found in zip(outputs, function.evaluate(window), strict=True):
                    output[s, at[t : t + step]] = found[t - since :]
        for name, output in zip(function.outputs, outputs, strict=True):
            values[Ref(node.identity, name)] = output
    return values


def test_all_functions_run_without_python(nodes: tuple[Node, ...]) -> None:
    """With the bundled library none of the 201 goes through its wrapper."""
    assert len(NAMES) == 201
    assert {type(stage) for stage in compile_program(nodes).stages} == {Native, Totals}


def test_the_bits_are_those_of_the_wrapper(nodes: tuple[Node, ...]) -> None:
    """For every function and output, with gaps, late starts and NaN at the head of a column."""
    found, known = run(nodes), expected(nodes)
    assert len(known) > 450
    for ref, values in known.items():
        assert np.array_equal(values, found[ref], equal_nan=True), ref
        assert np.array_equal(np.signbit(values), np.signbit(found[ref])) or "nan" in str(values)


@pytest.mark.parametrize("cuts", [(1, 2, 3, 60, 61, 400), (511, 512, 513), (350,)])
def test_any_portions_give_the_same_bits(nodes: tuple[Node, ...], cuts: tuple[int, ...]) -> None:
    """Slice by slice, at an anchor, in the middle."""
    whole, split = run(nodes), run(nodes, cuts)
    for ref, values in whole.items():
        assert values.tobytes() == split[ref].tobytes(), ref


def test_without_the_library_the_bits_are_the_same(
    nodes: tuple[Node, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another platform or a static build the wrapper is called, to the same bits."""
    direct = run(nodes, (300,))
    monkeypatch.setattr(native, "binding", lambda *_: None)
    monkeypatch.setattr(program, "native", native)
    assert {type(stage) for stage in compile_program(nodes).stages} == {Windowed, Totals}
    indirect = run(nodes, (300,))
    for ref, values in direct.items():
        assert np.array_equal(values, indirect[ref], equal_nan=True), ref


def test_it_is_the_instance_that_talib_uses() -> None:
    """A global setting made through `talib` is seen there, and no function is bound under it."""
    library = native._library()
    assert library.TA_EMA_Lookback(30) == 29
    talib.set_unstable_period("EMA", 5)
    try:
        assert library.TA_EMA_Lookback(30) == 34
        with pytest.raises(BadParameter, match=r"unstable periods \(EMA\) is set, which other"):
            resolve("EMA", {})
    finally:
        talib.set_unstable_period("EMA", 0)
    assert resolve("EMA", {}).lookback == 29
