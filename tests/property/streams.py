"""Hypothesis strategies for streams: bars of several symbols, cut up and mixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from streambt_spark.core.block import Block, open_block, step
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import REGISTRY
from streambt_spark.core.market.bars import FIELDS, Bars
from streambt_spark.core.market.rows import RowKind, Rows, one_row, rows_of_bars
from streambt_spark.core.plan import Plan, compile_plan

DAY = 86_400_000_000


def bars_of(present: np.ndarray, seed: int) -> Bars:
    """Return daily bars of a random walk in cents where `present`, bool[T, S], is set."""
    random = np.random.default_rng(seed)
    slices, symbols = present.shape
    walk = np.maximum(1000 + random.integers(-40, 41, (slices, symbols, 2)).cumsum(axis=0), 1)
    opened, closed = walk[..., 0] / 100, walk[..., 1] / 100
    fields = {
        "open": opened,
        "high": np.maximum(opened, closed),
        "low": np.minimum(opened, closed),
        "close": closed,
        "volume": random.integers(0, 1000, (slices, symbols)).astype(float),
    }
    at, code = np.nonzero(present)
    names = tuple("ABCDE"[:symbols])
    columns = (np.ascontiguousarray(fields[name][at, code]) for name in FIELDS)
    return Bars("1d", names, code.astype(np.int32), (at + 1) * DAY, *columns)


@st.composite
def markets(draw: st.DrawFn, slices: int = 12) -> Bars:
    """Draw up to `slices` slices of 1 to 3 symbols, with gaps."""
    shape = draw(st.integers(1, slices)), draw(st.integers(1, 3))
    cells = st.lists(st.integers(0, 4), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
    present = np.array(draw(cells)).reshape(shape) > 0
    return bars_of(present, draw(st.integers(0, 2**32 - 1)))


@st.composite
def deliveries(draw: st.DrawFn, bars: Bars) -> list[Rows]:
    """Draw a way for bars to arrive: each symbol's in order over the calls, else as it pleases.

    Symbols run ahead of one another, rows of one call are shuffled, and heartbeats that promise no
    more than is true stand between them. At the end every symbol says so.
    """
    calls = draw(st.integers(1, 5))
    order = np.argsort(bars.ts, kind="stable")
    call = np.zeros(len(bars), int)
    for symbol in range(len(bars.symbols)):
        own = order[bars.code[order] == symbol]
        cuts = draw(st.lists(st.integers(0, calls - 1), min_size=len(own), max_size=len(own)))
        call[own] = sorted(cuts)
    portions = []
    for number in range(calls):
        rows = rows_of_bars(bars.take(call == number))
        parts = [rows]
        for symbol in range(len(bars.symbols)):
            if draw(st.booleans()):
                left = bars.ts[(bars.code == symbol) & (call > number)]
                until = int(left.min()) - 1 if len(left) else 13 * DAY
                parts.append(one_row(RowKind.HEARTBEAT, until, code=symbol))
        mixed = Rows.concat(*parts)
        portions.append(mixed.take(np.array(draw(st.permutations(range(len(mixed)))), np.intp)))
    return [*portions, one_row(RowKind.END, 99 * DAY)]


def feed(plan: Plan, portions: Sequence[Rows], block: Block | None = None) -> tuple[Block, Events]:
    """Return the block after all portions, and the events of the lanes."""
    program, events = compile_plan(plan), list[Events]()
    block = block or open_block(program)
    for rows in portions:
        block, new = step(program, block, rows)
        events.append(new)
    return block, Events.concat(events)


def bits(events: Events) -> list[bytes]:
    """Return the bits of the lanes' events in canonical order; audit events tell of arrival."""
    order = np.lexsort((events.seq, events.ts, events.lane))
    order = order[events.lane[order] >= 0]
    return [getattr(events, name)[order].tobytes() for name in REGISTRY.names]
