"""A lane block: lanes that share one universe, folded together over one stream of rows.

`step` is the whole engine: rows in, events out. Every engine calls it, with all rows at once, with
micro-batches, or with live rows, and the events are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.broker import account as broker
from streambt_spark.core.broker.account import open_account
from streambt_spark.core.broker.kernel import Account
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

    from streambt_spark.core.plan import Plan


_FAULT_REASONS = np.array([REASONS.index(fault) for fault in FAULTS], np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The state of a lane block between steps; `audited` numbers its audit events."""

    buffer: Buffer
    features: Features
    accounts: tuple[Account, ...]
    audited: int


def open_block(plan: Plan) -> Block:
    """Return the block before its first row."""
    count = len(plan.symbols)
    accounts = tuple(open_account(count) for _ in plan.lanes)
    return Block(open_buffer(count), open_features(count), accounts, 0)


def step(plan: Plan, block: Block, rows: Rows) -> tuple[Block, Events]:
    """Take in rows, process the slices that are now complete, and return the events.

    The events are the lanes' in order, then the audit events: counts of the rows read, accepted and
    set aside, one row for each that was set aside, and `end` once every symbol has ended.
    """
    ended = has_ended(block.buffer)
    buffer, release = advance(block.buffer, rows, plan.symbols)
    features, accounts, parts = block.features, block.accounts, []
    if len(release.panel.ts):
        features, values = evaluate(plan.nodes, features, release.panel)
        folded = [
            broker.step(
                lane.terms(plan.symbols),
                account,
                release.panel,
                _pulse(values, lane.pulse, release.panel),
                lane=number,
                function=lane.function(),
            )
            for number, (lane, account) in enumerate(zip(plan.lanes, accounts, strict=True))
        ]
        accounts = tuple(account for account, _ in folded)
        parts = [events for _, events in folded]
    audit = _audit(rows, release, block.audited, end=has_ended(buffer) and not ended)
    after = Block(buffer, features, accounts, block.audited + len(audit))
    return after, Events.concat([*parts, audit])


def _pulse(
    values: Mapping[Ref, NDArray[np.float64]], ref: Ref, panel: Panel
) -> NDArray[np.float64]:
    """Return a lane's pulse by slice, float64[T, S]."""
    if ref.node == BARS:
        return panel.column(ref.output)
    return np.ascontiguousarray(values[ref].T)


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
