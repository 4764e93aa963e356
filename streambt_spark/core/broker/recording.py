"""What a lane records: all events, its fills and session ends, or its summary.

The account does the same under each policy, and makes the same events; a recorder lets through what
its policy keeps, and numbers that anew. So an order has the id that it has in a full ledger, while
`seq` counts what is recorded. A lane that does not record all ends with one event, its summary: the
very figures that its full ledger gives. An event that tells why a lane no longer trades is always
recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numba import njit

from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import EVENT, REGISTRY, Kind
from streambt_spark.core.ledger.lots import LOT, Lots, open_lots, with_room
from streambt_spark.core.ledger.summaries import to_text
from streambt_spark.core.ledger.summary import (
    SUMMARY,
    finish,
    observe_equity,
    observe_fill,
    open_summary,
)
from streambt_spark.core.records import columns_of, record_of, records_of
from streambt_spark.errors import BadParameter, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.records import Record, Records

Recorded = Literal["full", "equity", "metrics"]


class Policy(IntEnum):
    """How much of a lane is recorded."""

    FULL = 0
    EQUITY = 1
    METRICS = 2


_KINDS = {
    Policy.EQUITY: (
        Kind.CASH, Kind.FILL, Kind.REJECT, Kind.DISABLED, Kind.SPLIT, Kind.DIVIDEND, Kind.MARGIN,
    ),
    Policy.METRICS: (Kind.DISABLED,),
}  # fmt: skip
"""The kinds that are recorded as they happen; the equity under EQUITY, as its session ends."""

_FILL, _EQUITY, _SUMMARY = int(Kind.FILL), int(Kind.EQUITY), int(Kind.SUMMARY)
_ENDS_OF_SESSIONS = int(Policy.EQUITY)

_COUNTER = record_of(("seq", "i8"), ("session", "i8"), ("pending", "i8"))
"""The next number, the session of the last slice, and whether its equity waits to be recorded."""


def policy_of(record: str) -> Policy:
    """Return a policy by its name; raises BadParameter for another."""
    names = [policy.name.lower() for policy in Policy]
    if record not in names:
        raise BadParameter(
            f"record {record!r} is not known{did_you_mean(record, names)}; write full, equity or "
            "metrics"
        )
    return Policy[record.upper()]


@dataclass(frozen=True, slots=True, eq=False)
class Recorder:
    """What one lane has recorded so far, where that is not all; its arrays are written into."""

    policy: Policy
    counter: NDArray[np.void]  # _COUNTER[1]
    last: NDArray[np.void]  # EVENT[1], the equity after the last slice
    summary: NDArray[np.void]  # SUMMARY[1]
    lots: Lots

    @classmethod
    def open(cls, policy: Policy, cash: int, symbols: int) -> Recorder:
        """Return the recorder of a lane before its first slice; `cash` in minor units."""
        counter, last = np.zeros(1, _COUNTER), np.zeros(1, EVENT)
        return cls(policy, counter, last, open_summary(cash), open_lots(symbols))

    def copy(self) -> Recorder:
        """Return the same with arrays of its own."""
        lots = Lots(self.lots.rows.copy(), self.lots.queues.copy(), self.lots.free.copy())
        arrays = (self.counter.copy(), self.last.copy(), self.summary.copy())
        return Recorder(self.policy, *arrays, lots)

    def take(
        self, events: Records, ts: NDArray[np.int64], sessions: NDArray[np.int64]
    ) -> tuple[Recorder, Records]:
        """Return the recorder after some events of slices at `ts`, and those of them to record."""
        fills = int((events["kind"] == _FILL).sum())
        lots = with_room(self.lots, fills)
        records = np.empty(len(events) + 1, EVENT)
        mask = sum(1 << kind for kind in _KINDS[self.policy])
        count = _record(
            events, ts, sessions, self.policy, mask, self.counter, self.last, self.summary, lots,
            records,
        )  # fmt: skip
        return Recorder(self.policy, self.counter, self.last, self.summary, lots), records[:count]

    def close(self) -> list[Events]:
        """Return what is only known once no slice comes any more."""
        counter, events = self.counter[0], []
        if counter["pending"]:
            self.last["seq"] = counter["seq"]
            events.append(Events(self.last.copy()))
            counter["seq"] += 1
            counter["pending"] = 0
        finish(self.summary[0])
        event = REGISTRY.blank.copy()
        for name in ("lane", "ts", "currency"):
            event[name] = self.last[name]
        event["seq"], event["kind"], event["text"] = counter["seq"], _SUMMARY, 0
        counter["seq"] += 1
        return [*events, Events(event, (to_text(self.summary[0]),))]

    def encoded(self) -> dict[str, Any]:
        """Return the recorder as plain arrays by name."""
        return {
            "policy": int(self.policy),
            **{name: columns_of(getattr(self, name)) for name in ("counter", "last", "summary")},
            "lots": columns_of(self.lots.rows),
            "queues": self.lots.queues,
            "free": self.lots.free,
        }

    @classmethod
    def decoded(cls, body: Mapping[str, Any], symbols: int) -> Recorder:
        """Return the recorder that `encoded` wrote.

        Raises KeyError, TypeError or ValueError where it is not one of so many symbols.
        """
        counter, last, summary = (
            records_of(body[name], dtype)
            for name, dtype in (("counter", _COUNTER), ("last", EVENT), ("summary", SUMMARY))
        )
        lots = Lots(records_of(body["lots"], LOT), body["queues"], body["free"])
        shapes = (counter.shape, last.shape, summary.shape, lots.queues.shape, lots.free.shape)
        if shapes != ((1,), (1,), (1,), (symbols, 2), (2,)):
            raise ValueError(f"a recorder of {shapes}")
        return cls(Policy(body["policy"]), counter, last, summary, lots)


@njit(cache=True, nogil=True)
def _record(
    events: Records,
    ts: NDArray[np.int64],
    sessions: NDArray[np.int64],
    policy: int,
    mask: int,
    counters: Records,
    lasts: Records,
    summaries: Records,
    lots: Lots,
    records: Records,
) -> int:
    """Write the events to record to `records`, and return how many they are.

    An event of a new session comes after the equity with which the last one ended.
    """
    counter, summary = counters[0], summaries[0]
    n, at = 0, 0
    for i in range(len(events)):
        event = events[i]
        while ts[at] < event.ts:
            at += 1
        if counter.pending and sessions[at] != counter.session:
            n = _keep(lasts[0], counter, records, n)
            counter.pending = 0
        if event.kind == _FILL:
            observe_fill(
                summary, lots, event.ts, event.symbol, event.side, event.quantity,
                event.commission, event.amount,
            )  # fmt: skip
        if event.kind == _EQUITY:
            observe_equity(summary, event.ts, event.equity, event.exposure, sessions[at])
            lasts[0] = event
            counter.session = sessions[at]
            counter.pending = policy == _ENDS_OF_SESSIONS
        elif (mask >> event.kind) & 1:
            n = _keep(event, counter, records, n)
    return n


@njit(cache=True, inline="always")
def _keep(event: Record, counter: Record, records: Records, n: int) -> int:
    records[n] = event
    records[n].seq = counter.seq
    counter.seq += 1
    return n + 1
