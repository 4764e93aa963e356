"""A lane block: lanes that share one universe, folded together over one stream of rows.

`step` is the whole engine: rows in, events out. It composes three folds, each with a state of its
own: rows are aligned to slices, slices give features, and features are traded on. Every engine
calls it, with all rows at once, with micro-batches, or with live rows, and the events are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.broker.trade import Books, Run, close_books, open_books, trade
from streambt_spark.core.indicators.evaluation import Features, evaluate, open_features
from streambt_spark.core.indicators.graph import BARS, Ref
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import REASONS, REGISTRY, Kind
from streambt_spark.core.market.bars import FAULTS
from streambt_spark.core.market.slices import (
    Buffer,
    Panel,
    Release,
    Rows,
    advance,
    has_ended,
    open_buffer,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from streambt_spark.core.plan import Program


_FAULT_REASONS = np.array([REASONS.index(fault) for fault in FAULTS], np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The state of a lane block between steps; `audited` numbers its audit events."""

    buffer: Buffer
    features: Features
    books: Books
    audited: int


def open_block(program: Program) -> Block:
    """Return the block before its first row."""
    symbols = len(program.plan.symbols)
    books = open_books(len(program.lanes), symbols)
    return Block(open_buffer(symbols), open_features(symbols), books, 0)


def step(program: Program, block: Block, rows: Rows, *, run: Run = map) -> tuple[Block, Events]:
    """Take in rows, process the slices that are now complete, and return the events.

    The events are the lanes', each one's in order, then the audit events: counts of the rows read,
    accepted and set aside, one row for each that was set aside, and `end` once every symbol has
    ended. `run` may be the map of a pool of threads, which then share the lanes.
    """
    buffer, release = advance(block.buffer, rows, program.plan.symbols)
    ended = has_ended(buffer) and not has_ended(block.buffer)
    features, books, parts = block.features, block.books, list[Events]()
    panel = release.panel
    if len(panel.ts):
        features, values = evaluate(program.plan.nodes, features, panel)
        sessions, pulses = program.sessions(panel.ts), _pulses(program, values, panel)
        books, parts = trade(program.lanes, books, panel, sessions, pulses, run=run)
    if ended:
        books, last = close_books(program.lanes, books)
        parts = [*parts, *last]
    audit = _audit(rows, release, block.audited, end=ended)
    after = Block(buffer, features, books, block.audited + len(audit))
    return after, Events.concat([*parts, audit])


def _pulses(
    program: Program, values: Mapping[Ref, NDArray[np.float64]], panel: Panel
) -> list[NDArray[np.float64]]:
    """Return each lane's pulse by slice, float64[T, S]; lanes of one pulse share it."""
    by_slice: dict[Ref, NDArray[np.float64]] = {}
    for lane in program.plan.lanes:
        ref = lane.pulse
        if ref not in by_slice:
            column = panel.column(ref.output) if ref.node == BARS else values[ref].T
            by_slice[ref] = np.ascontiguousarray(column)
    return [by_slice[lane.pulse] for lane in program.plan.lanes]


def _audit(rows: Rows, release: Release, start: int, *, end: bool) -> Events:
    told: list[tuple[Kind, Rows, int | NDArray[np.int8]]] = [
        (Kind.LATE, release.late, REASONS.index("late")),
        (Kind.DUPLICATE, release.duplicate, REASONS.index("duplicate")),
        (Kind.REJECTED, release.rejected, _FAULT_REASONS[release.rejected.fault]),
    ]
    counts = {
        "read": release.read,
        "accepted": release.accepted,
        "late": len(release.late),
        "duplicate": len(release.duplicate),
        "rejected": len(release.rejected),
    }
    if not release.read and not end:
        return Events.empty()
    last = int(release.panel.ts[-1]) if len(release.panel.ts) else int(rows.ts.max(initial=0))
    parts = [_set_aside(kind, group, reason) for kind, group, reason in told if len(group)]
    parts += [_count(last, reason, count) for reason, count in counts.items() if count]
    if end:
        parts.append(_blank(1, last, Kind.END))
    events = np.concatenate(parts)
    events["seq"] = np.arange(start, start + len(events))
    return Events(events)


def _set_aside(kind: Kind, group: Rows, reason: int | NDArray[np.int8]) -> NDArray[np.void]:
    events = _blank(len(group), group.ts, kind)
    events["symbol"] = group.code
    events["reason"] = reason
    return events


def _count(ts: int, reason: str, count: int) -> NDArray[np.void]:
    events = _blank(1, ts, Kind.COUNTS)
    events["reason"] = REASONS.index(reason)
    events["count"] = count
    return events


def _blank(count: int, ts: int | NDArray[np.int64], kind: Kind) -> NDArray[np.void]:
    events = np.repeat(REGISTRY.blank, count)
    events["ts"] = ts
    events["kind"] = kind
    return events
