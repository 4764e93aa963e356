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
from streambt_spark.core.indicators.evaluation import compute
from streambt_spark.core.indicators.features import Features, open_features
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import REASONS, REGISTRY, Kind
from streambt_spark.core.market.faults import FAULTS, out_of_range
from streambt_spark.core.market.rows import UNKNOWN, RowKind, Rows, kind_names
from streambt_spark.core.market.slices import Buffer, Release, align, has_ended, open_buffer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.plan import Program


_FAULT_REASONS = np.array([REASONS.index(fault) for fault in FAULTS], np.int8)
_KIND_REASONS = np.array([REASONS.index(kind.name.lower()) for kind in RowKind], np.int8)
_AGAIN_REASONS = np.array([REASONS.index("repeated"), REASONS.index("conflicting")], np.int8)


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
    books = open_books(program.lanes, symbols)
    return Block(open_buffer(symbols), open_features(program.features, symbols), books, 0)


def step(program: Program, block: Block, rows: Rows, *, run: Run = map) -> tuple[Block, Events]:
    """Take in rows, process the slices that are now complete, and return the events.

    The events are the lanes', each one's in order, then the audit events: counts of the rows read,
    accepted and set aside, one row for each that was set aside, and `end` once every symbol has
    ended. `run` may be the map of a pool of threads, which then share the lanes.
    """
    buffer, release = align(block.buffer, rows, program.plan.symbols)
    ended = has_ended(buffer) and not has_ended(block.buffer)
    features, books, parts = block.features, block.books, list[Events]()
    panel = release.panel
    if len(panel.ts) or len(release.history):
        features, values = compute(program.features, features, panel, release.history)
        pulses = [values[lane.pulse] for lane in program.plan.lanes]
        sessions = program.sessions(panel.ts)
        books, parts = trade(program.lanes, books, panel, sessions, pulses, run=run)
    if ended:
        books, last = close_books(books)
        parts = [*parts, *last]
    audit = _audit(rows, release, block.audited, end=ended)
    after = Block(buffer, features, books, block.audited + len(audit))
    return after, Events.concat([*parts, audit])


def _audit(rows: Rows, release: Release, start: int, *, end: bool) -> Events:
    set_aside = {
        Kind.LATE: release.late,
        Kind.DUPLICATE: release.duplicate,
        Kind.REJECTED: release.rejected,
        Kind.UNSUPPORTED: release.unsupported,
    }
    set_aside = {kind: group for kind, group in set_aside.items() if len(group)}
    counts = {
        "read": release.read,
        "accepted": release.accepted,
        "late": len(release.late),
        "duplicate": len(release.duplicate),
        "rejected": len(release.rejected),
    }
    counts = {reason: count for reason, count in counts.items() if count}
    size = sum(map(len, set_aside.values())) + len(counts) + end
    if not size:
        return Events.empty()
    events = np.repeat(REGISTRY.blank, size)
    events["seq"] = np.arange(start, start + size)
    events["ts"] = last = _last_time(rows, release)
    at = 0
    for kind, group in set_aside.items():
        entries = events[at : at + len(group)]
        # What no table can hold is no time; the row came when the stream was at `last`.
        entries["ts"] = np.where(out_of_range(group.ts), last, group.ts)
        entries["kind"] = kind
        entries["symbol"] = group.code
        entries["reason"] = _reasons(kind, release)
        at += len(group)
    entries = events[at : at + len(counts)]
    entries["kind"] = Kind.COUNTS
    entries["reason"] = [REASONS.index(reason) for reason in counts]
    entries["count"] = list(counts.values())
    if end:
        events["kind"][-1] = Kind.END
    return _named(events, release.rejected)


def _named(events: NDArray[np.void], rejected: Rows) -> Events:
    """Return audit events, those of rows of unknown kinds with what the stream calls them."""
    unknown = rejected.kind == UNKNOWN
    if not unknown.any():
        return Events(events)
    names = kind_names(rejected.take(unknown))
    texts = tuple(dict.fromkeys(names))
    refused = np.flatnonzero(events["kind"] == Kind.REJECTED)
    events["text"][refused[unknown]] = [texts.index(name) for name in names]
    return Events(events, texts)


def _last_time(rows: Rows, release: Release) -> int:
    """Return the time of the last slice, else of the last row that can be believed, else 0."""
    if len(release.panel.ts):
        return int(release.panel.ts[-1])
    believed = (rows.fault == 0) & ~out_of_range(rows.ts)
    return int(rows.ts.max(initial=0, where=believed))


def _reasons(kind: Kind, release: Release) -> int | NDArray[np.int8]:
    """Return why rows were set aside: as fault, kind or repetition has it, row by row."""
    if kind is Kind.DUPLICATE:
        return _AGAIN_REASONS[release.conflicting.astype(np.int8)]
    if kind is Kind.REJECTED:
        return _FAULT_REASONS[release.rejected.fault]
    if kind is Kind.UNSUPPORTED:
        return _KIND_REASONS[release.unsupported.kind]
    return REASONS.index("late")
