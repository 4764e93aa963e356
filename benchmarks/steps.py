"""Steps of one slice: what a bar costs where each is folded as it comes, as in paper trading."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

from benchmarks import workload
from streambt_spark.core.block import open_block, step
from streambt_spark.core.market.bars import Bars
from streambt_spark.core.market.rows import Rows, rows_of_bars
from streambt_spark.core.plan import compile_plan
from streambt_spark.stores.generator import generate

WARM_UP = 600
"""Slices that are folded at once before the clock starts, so that histories are full by then."""


def measure(symbols: int, steps: int) -> dict[str, Any]:
    """Return the seconds of one-slice steps of the SMA cross, in the median and at the 99th of 100.

    Take as many steps as indicators keep bars (some 512) or more: the time of a step goes up and
    down with them.
    """
    bars = generate(symbols, WARM_UP + steps, workload.INTERVAL, workload.SEED)
    take, seconds, events = stepper(bars), [], 0
    first = WARM_UP * symbols
    take(rows_of_bars(bars.take(slice(0, first))))
    for start in range(first, len(bars), symbols):  # every symbol has a bar in every slice
        rows = rows_of_bars(bars.take(slice(start, start + symbols)))
        started = time.perf_counter()
        events += take(rows)
        seconds.append(time.perf_counter() - started)
    if events < steps:
        raise AssertionError(f"{steps} steps made {events} events; each has at least its equity")
    return {"median": median(seconds), "p99": quantiles(seconds, n=100)[-1], "steps": steps}


def stepper(bars: Bars) -> Callable[[Rows], int]:
    """Return what folds rows into a block of the SMA cross and returns the number of new events."""
    program = compile_plan(workload.cerebro(bars).plan())
    block = open_block(program)

    def take(rows: Rows) -> int:
        nonlocal block
        block, events = step(program, block, rows)
        return len(events)

    return take
