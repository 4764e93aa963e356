"""A lane block: lanes that share one universe, folded together over one stream of rows.

`step` is the whole engine: rows in, events out. Every engine calls it, with all rows at once, with
micro-batches, or with live rows, and the events are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark.core.broker import account as broker
from streambt_spark.core.broker.account import open_account
from streambt_spark.core.broker.kernel import Account
from streambt_spark.core.indicators.evaluation import compute
from streambt_spark.core.indicators.features import Features, open_features
from streambt_spark.core.indicators.graph import Node, Ref
from streambt_spark.core.indicators.program import Program, compile_program
from streambt_spark.core.ledger.events import DTYPES, NULL, REASONS, Events, Kind
from streambt_spark.core.market.fates import compile_fates
from streambt_spark.core.market.faults import FAULTS, out_of_range
from streambt_spark.core.market.rows import RowKind, Rows
from streambt_spark.core.market.slices import Buffer, Release, align, has_ended, open_buffer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.plan import Plan


_FAULT_REASONS = np.array([REASONS.index(fault) for fault in FAULTS], np.int8)
_KIND_REASONS = np.array([REASONS.index(kind.name.lower()) for kind in RowKind], np.int8)
_AGAIN_REASONS = np.array([REASONS.index("repeated"), REASONS.index("conflicting")], np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The state of a lane block between steps; `audited` numbers its audit events."""

    buffer: Buffer
    features: Features
    accounts: tuple[Account, ...]
    audited: int


def compile_kernels() -> None:
    """Compile what a step runs, or load it from numba's cache."""
    broker.compile_kernels()
    compile_fates()


def open_block(plan: Plan) -> Block:
    """Return the block before its first row."""
    count = len(plan.symbols)
    accounts = tuple(open_account(count) for _ in plan.lanes)
    return Block(open_buffer(count), open_features(program_of(plan), count), accounts, 0)


def program_of(plan: Plan) -> Program:
    """Return the compiled nodes of a plan, with what its lanes read."""
    return _program(plan.nodes, tuple(dict.fromkeys(lane.pulse for lane in plan.lanes)))


@lru_cache(maxsize=64)
def _program(nodes: tuple[Node, ...], pulses: tuple[Ref, ...]) -> Program:
    return compile_program(nodes, pulses)


def step(plan: Plan, block: Block, rows: Rows) -> tuple[Block, Events]:
    """Take in rows, process the slices that are now complete, and return the events.

    The events are the lanes' in order, then the audit events: counts of the rows read, accepted and
    set aside, one row for each that was set aside, and `end` once every symbol has ended.
    """
    ended = has_ended(block.buffer)
    buffer, release = align(block.buffer, rows, plan.symbols)
    features, accounts, parts = block.features, block.accounts, []
    if len(release.panel.ts) or len(release.history):
        features, values = compute(program_of(plan), features, release.panel, release.history)
        folded = [
            broker.step(
                lane.terms(plan.symbols),
                account,
                release.panel,
                np.ascontiguousarray(values[lane.pulse].T),
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


def _audit(rows: Rows, release: Release, start: int, *, end: bool) -> Events:
    told: list[tuple[Kind, Rows, int | NDArray[np.int8]]] = [
        (Kind.LATE, release.late, REASONS.index("late")),
        (Kind.DUPLICATE, release.duplicate, _AGAIN_REASONS[release.conflicting.astype(np.int8)]),
        (Kind.REJECTED, release.rejected, _FAULT_REASONS[release.rejected.fault]),
        (Kind.UNSUPPORTED, release.unsupported, _KIND_REASONS[release.unsupported.kind]),
    ]
    counts = {
        "read": release.read,
        "accepted": release.accepted,
        "late": len(release.late),
        "duplicate": len(release.duplicate),
        "rejected": len(release.rejected),
    }
    if not release.read and not len(release.unsupported) and not end:
        return Events.empty()
    last = _last_time(rows, release)
    columns = [_set_aside(kind, group, reason, last) for kind, group, reason in told if len(group)]
    columns += [_one(Kind.COUNTS, last, reason, float(n)) for reason, n in counts.items() if n]
    if end:
        columns.append(_one(Kind.END, last, None, float("nan")))
    events = Events.concat(columns)
    numbered = {name: getattr(events, name) for name in DTYPES}
    numbered["seq"] = np.arange(start, start + len(events), dtype=np.int64)
    return Events(**numbered)


def _last_time(rows: Rows, release: Release) -> int:
    """Return the time of the last slice, else of the last row that can be believed, else 0."""
    if len(release.panel.ts):
        return int(release.panel.ts[-1])
    believed = (rows.fault == 0) & ~out_of_range(rows.ts)
    return int(rows.ts.max(initial=0, where=believed))


def _set_aside(kind: Kind, group: Rows, reason: int | NDArray[np.int8], last: int) -> Events:
    columns = _blank(len(group))
    # What no table can hold is no time; the row came when the stream was at `last`.
    columns["ts"][:] = np.where(out_of_range(group.ts), last, group.ts)
    columns["symbol"][:] = group.code
    columns["kind"][:] = kind
    columns["reason"][:] = reason
    return Events(**columns)


def _one(kind: Kind, ts: int, reason: str | None, quantity: float) -> Events:
    columns = _blank(1)
    columns["ts"][:] = ts
    columns["kind"][:] = kind
    columns["quantity"][:] = quantity
    columns["reason"][:] = REASONS.index(reason)
    return Events(**columns)


def _blank(count: int) -> dict[str, NDArray[Any]]:
    nulls = {"i": NULL, "f": np.nan}
    columns = {}
    for name, dtype in DTYPES.items():
        null = -1 if name in ("lane", "symbol") else nulls[np.dtype(dtype).kind]
        columns[name] = np.full(count, 0 if np.dtype(dtype).itemsize == 1 else null, dtype)
    return columns
