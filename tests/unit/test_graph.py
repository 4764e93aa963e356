"""The graph: identities, merging, names, and the mistakes it explains."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streambt_spark.core.indicators.evaluation import compute
from streambt_spark.core.indicators.features import open_features
from streambt_spark.core.indicators.function import Function
from streambt_spark.core.indicators.graph import DATA, Graph, compile_graph
from streambt_spark.core.indicators.library import indicator, resolve
from streambt_spark.core.indicators.program import compile_program
from streambt_spark.errors import BadParameter, CycleError, UnknownColumn
from tests.property.accounts import panel_of

SMA = resolve("SMA", {"timeperiod": 3})


def minus(a: np.ndarray, b: np.ndarray) -> Any:
    """Return a less b."""
    return a - b


@indicator(commutative=True)
def third(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Any:
    """Return the mean of three."""
    return (a + b + c) / 3


SCRIPT = """
from streambt_spark.allocation import PercentOfEquity
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.market.instruments import Instrument
from streambt_spark.core.indicators.graph import DATA, Graph, compile_graph
from streambt_spark.core.indicators.library import indicator, resolve
from streambt_spark.core.plan import lane

LEVELS = frozenset({"a", "b", "c", "d"})

def minus(a, b):
    return a - b if "a" in {"a", "b", "c"} else b - a

@indicator(commutative=True)
def third(a, b, c):
    return (a + b + c) / 3

g = Graph()
a = g.add(resolve(minus, {}), [DATA["open"], DATA["high"]])
b = g.add(resolve(third, {}), [DATA["open"], DATA["high"], DATA["low"]])
c = g.add(resolve("MACD", {"fastperiod": 5}), [a])
compiled = compile_graph(g)
print(*compiled.identities)
traded = {symbol: Instrument(lot=0.5) for symbol in {"AAPL", "SPY", "IBM", "QQQ"}}
broker = Broker(instruments=traded, commission={"sell": 1, "buy": "0.1%"})
print(lane(compiled.ref(c["macd"]), PercentOfEquity(0.1), broker).name)
"""


def test_identities_are_those_of_every_process(tmp_path: Path) -> None:
    """Hash seeds change the order of sets, and nothing here: nodes and lanes keep their names."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    running = [
        subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "4242")
    ]
    told = [process.communicate(timeout=120)[0] for process in running]
    assert told[0] == told[1]
    assert len(told[0].split()) == 4


def identities(*columns: tuple[str, ...], function: Function) -> list[str]:
    """Return the identity of a function for each choice of columns."""
    graph = Graph()
    for names in columns:
        graph.add(function, [DATA[name] for name in names])
    return list(compile_graph(graph).identities)


def test_a_difference_is_not_its_reverse() -> None:
    """a - b and b - a never merge; a - b and a - b do."""
    one, other, again = identities(
        ("open", "close"), ("close", "open"), ("open", "close"), function=resolve(minus, {})
    )
    assert one == again != other


def test_a_commutative_function_has_one_order() -> None:
    """Any order of the columns is one node, which reads them in one order: equal to the bit."""
    orders = (("open", "high", "low"), ("low", "open", "high"), ("high", "low", "open"))
    assert len(set(identities(*orders, function=resolve(third, {})))) == 1
    read = set()
    for names in orders:
        graph = Graph()
        graph.add(resolve(third, {}), [DATA[name] for name in names])
        read.add(compile_graph(graph).nodes[0].inputs)
    assert len(read) == 1


CALLS: list[int] = []


def counted(close: np.ndarray) -> np.ndarray:
    """Return the column, and note the call."""
    CALLS.append(len(close))
    return close


def test_an_equal_node_runs_once_a_window_and_symbol() -> None:
    """Declared three times and read by two, it is called once for each symbol."""
    function = replace(resolve(minus, {}), inputs=("close",), kernel=lambda c: (counted(c[0]),))
    graph = Graph()
    for _ in range(3):
        handle = graph.add(function, [DATA["close"]])
        graph.add(SMA, [handle])
    program = compile_program(compile_graph(graph).nodes)
    assert len(program.nodes) == 2
    panel = panel_of(np.ones((5, 2), bool), np.full((5, 2, 4), 100), np.ones(2))
    CALLS.clear()
    compute(program, open_features(program, 2), panel)
    assert CALLS == [5, 5]


def test_names_reach_forward_and_backward() -> None:
    """A text names a column, an indicator, or one of its outputs, declared before or after."""
    graph = Graph()
    graph.add(SMA, ["trend.macdhist"], name="smooth")
    graph.add(resolve("MACD", {}), ["close"], name="trend")
    compiled = compile_graph(graph)
    assert [node.function.name for node in compiled.nodes] == ["MACD", "SMA"]
    assert compiled.nodes[1].inputs[0].output == "macdhist"


def test_the_bars_stand_for_the_columns_a_function_names() -> None:
    """Of bars alone, or of nothing, a function takes its prices; `ts` is one of the columns."""
    graph = Graph()
    for inputs in ([], [DATA]):
        graph.add(resolve("ATR", {}), inputs)
    (node,) = compile_graph(graph).nodes
    assert [ref.output for ref in node.inputs] == ["high", "low", "close"]
    assert DATA["ts"].column() == "ts"


def test_a_cycle_is_shown() -> None:
    """The path runs from the indicator back to itself."""
    graph = Graph()
    graph.add(SMA, ["c"], name="a")
    graph.add(SMA, ["a"], name="b")
    graph.add(SMA, ["b"], name="c")
    with pytest.raises(CycleError, match=r"depends on itself: a → c → b → a$"):
        compile_graph(graph)


def test_a_column_or_name_that_is_not_there_is_guessed() -> None:
    """The message has what was meant and what there is."""
    with pytest.raises(UnknownColumn, match=r"no column 'clsoe' \(did you mean close\?\); it has"):
        _ = DATA["clsoe"]
    graph = Graph()
    handle = graph.add(resolve("MACD", {}), [DATA["close"]], name="trend")
    with pytest.raises(
        UnknownColumn, match=r"trend has no column 'macdhit' \(did you mean macdhist"
    ):
        _ = handle["macdhit"]
    graph.add(SMA, ["trned.macd"])
    with pytest.raises(UnknownColumn, match=r"named 'trned' \(did you mean trend\?\); there are"):
        compile_graph(graph)


def test_an_open_choice_is_refused() -> None:
    """Of several outputs one must be chosen; of one there is nothing to choose."""
    graph = Graph()
    bands = graph.add(resolve("BBANDS", {}), [DATA["close"]])
    with pytest.raises(
        UnknownColumn, match=r"BBANDS has several columns, choose one: \['upperband'"
    ):
        graph.add(SMA, [bands])
    with pytest.raises(UnknownColumn, match=r"bars has several columns"):
        graph.add(resolve(minus, {}), [DATA, DATA])
    assert graph.add(SMA, [bands["upperband"]]).column() == "real"


@pytest.mark.parametrize(
    ("inputs", "name", "message"),
    [
        ([DATA["open"], DATA["close"]], None, r"SMA takes 1 columns \(close\), found 2"),
        ([3], None, r"takes columns such as bars\['close'\] or a handle, found int"),
        ([DATA["close"]], "close", r"the name 'close' is taken"),
        ([DATA["close"]], "a.b", r"the name 'a.b' has a dot"),
    ],
)
def test_wrong_declarations_are_refused(
    inputs: list[object], name: str | None, message: str
) -> None:
    """At once, where the mistake is."""
    with pytest.raises(BadParameter, match=message):
        Graph().add(SMA, inputs, name)  # type: ignore[arg-type]


def test_a_handle_belongs_to_its_graph() -> None:
    """Another graph would take it for something else of the same number."""
    mine, other = Graph(), Graph()
    handle = mine.add(SMA, [DATA["close"]])
    other.add(SMA, [DATA["open"]])
    with pytest.raises(BadParameter, match=r"SMA was declared in another Cerebro"):
        other.add(SMA, [handle])
    assert mine.add(SMA, [handle["real"]]) != handle
