"""The local engine: the fold in this process, without Spark. The oracle of every other engine."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.block import Block, open_block, step
from streambt_spark.core.broker.allocation import BUILT_IN
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.market.rows import RowKind, Rows, one_row, rows_of_bars
from streambt_spark.core.plan import compile_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streambt_spark.core.broker.trade import Run
    from streambt_spark.core.market.bars import Bars
    from streambt_spark.core.plan import Plan

SLICES_AT_ONCE = 8192
"""Slices in one step: enough to spread the cost of a step, few enough to stay in the cache."""


def run(plan: Plan, bars: Bars, *, slices_at_once: int = SLICES_AT_ONCE) -> Events:
    """Return the events of all bars; those of symbols outside the plan's universe are left out."""
    return Events.concat([events for _, events in fold(plan, bars, slices_at_once)])


def fold(
    plan: Plan, bars: Bars, slices_at_once: int = SLICES_AT_ONCE
) -> Iterator[tuple[Block, Events]]:
    """Yield the block and the new events after every portion of slices."""
    bars = _of_universe(bars, plan.symbols).sorted()
    first = np.ones(len(bars), bool)
    first[1:] = bars.ts[1:] != bars.ts[:-1]
    starts = np.append(np.flatnonzero(first)[::slices_at_once], len(bars))
    program = compile_plan(plan)
    block = open_block(program)
    with lane_pool(plan) as run:
        for start, stop in pairwise(starts):
            rows = rows_of_bars(bars.take(slice(start, stop)))
            for portion in (rows, one_row(RowKind.HEARTBEAT, int(rows.ts[-1]))):
                block, events = step(program, block, portion, run=run)
                yield block, events
        yield step(program, block, _end(bars), run=run)


@contextmanager
def lane_pool(plan: Plan) -> Iterator[Run]:
    """Yield how the lanes of a plan are run: side by side on the cores there are.

    Lanes with a function of the user's own would only wait for one another.
    """
    cores = min(len(os.sched_getaffinity(0)), len(plan.lanes))
    if cores < 2 or not all(isinstance(lane.allocation, BUILT_IN) for lane in plan.lanes):
        yield map
        return
    with ThreadPoolExecutor(cores) as pool:
        yield pool.map


def _end(bars: Bars) -> Rows:
    return one_row(RowKind.END, int(bars.ts[-1]) if len(bars) else 0)


def _of_universe(bars: Bars, symbols: tuple[str, ...]) -> Bars:
    if bars.symbols == symbols:
        return bars
    place = {symbol: i for i, symbol in enumerate(symbols)}
    code = np.array([place.get(s, -1) for s in bars.symbols], np.int32)[bars.code]
    kept = bars.take(code >= 0)
    return type(bars)(
        bars.interval,
        symbols,
        code[code >= 0],
        *(getattr(kept, name) for name in kept.__slots__[3:]),
    )
