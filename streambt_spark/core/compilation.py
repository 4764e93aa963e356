"""Compilation: the core's kernels, compiled before they are needed, or loaded from numba's cache.

Processes that are forked afterwards have them, and need not each compile the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from streambt_spark.core.block import open_block, step
from streambt_spark.core.broker.allocation import FixedSize
from streambt_spark.core.broker.recording import Recorded
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.broker.trade import close_books
from streambt_spark.core.indicators.function import Family
from streambt_spark.core.indicators.graph import Graph, compile_graph
from streambt_spark.core.indicators.library import resolve
from streambt_spark.core.market.bars import Bars
from streambt_spark.core.market.fates import compile_fates
from streambt_spark.core.market.rows import rows_of_bars
from streambt_spark.core.plan import Plan, compile_plan, lane

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DAY = 86_400_000_000
_BARS = 32
_RECORDED: tuple[Recorded, ...] = get_args(Recorded)


def compile_kernels() -> None:
    """Compile what a step runs, by steps over a few made-up bars.

    They go through a function of each family that has kernels, and a lane of each record policy.
    """
    compile_fates()
    graph = Graph()
    declared = [
        graph.add(resolve("SMA", {"timeperiod": 2}), ()),
        graph.add(resolve("OBV", {}), ()),
        graph.add(resolve(_momentum, {}), ()),
        graph.add(replace(resolve(_level, {}), family=Family.POINTWISE), ()),
    ]
    compiled = compile_graph(graph)
    lanes = tuple(
        lane(compiled.ref(handle), FixedSize(1), Broker(), record=record)
        for handle in declared
        for record in _RECORDED
    )
    program = compile_plan(Plan(("A", "B"), "1d", compiled.nodes, lanes[::2]))
    rows = rows_of_bars(_bars())
    block = open_block(program)
    for portion in (slice(0, _BARS), slice(_BARS, None)):
        block, _ = step(program, block, rows.take(portion))
    close_books(block.books)


def _momentum(close: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.diff(close, prepend=np.nan)


def _level(close: NDArray[np.float64]) -> NDArray[np.float64]:
    return close - 10.5


def _bars() -> Bars:
    """Return bars of two symbols whose momentum turns with every bar."""
    ts = np.repeat(np.arange(_BARS, dtype=np.int64) * _DAY, 2)
    code = np.tile(np.arange(2, dtype=np.int32), _BARS)
    close = np.where(ts // _DAY % 2, 11.0, 10.0)
    return Bars("1d", ("A", "B"), code, ts, close, close, close, close, np.ones(len(ts)))
