"""What a lane records: all events, its fills and session ends, or one summary.

The account goes the same way under each policy, and orders have the numbers they have in a full
ledger; `seq` counts what is recorded. An event that tells why a lane no longer trades is always
recorded.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from numba import njit

from streambt_spark.core.ledger.fields import REGISTRY, Kind
from streambt_spark.errors import BadParameter, did_you_mean

if TYPE_CHECKING:
    from streambt_spark.core.broker.records import Record

Recorded = Literal["full", "equity", "metrics"]


class Policy(IntEnum):
    """How much of a lane is recorded."""

    FULL = 0
    EQUITY = 1
    METRICS = 2


_KINDS = {
    Policy.FULL: frozenset(kind.number for kind in REGISTRY.kinds) - {Kind.SUMMARY},
    Policy.EQUITY: frozenset(
        {Kind.CASH, Kind.FILL, Kind.REJECT, Kind.DISABLED, Kind.SPLIT, Kind.DIVIDEND, Kind.MARGIN}
    ),
    Policy.METRICS: frozenset({Kind.DISABLED, Kind.SUMMARY}),
}


def policy_of(record: str) -> Policy:
    """Return a policy by its name; raises BadParameter for another."""
    names = [policy.name.lower() for policy in Policy]
    if record not in names:
        raise BadParameter(
            f"record {record!r} is not known{did_you_mean(record, names)}; write full, equity or "
            "metrics"
        )
    return Policy[record.upper()]


def mask_of(policy: Policy) -> int:
    """Return the kinds that are recorded as they happen, a bit each.

    An equity under EQUITY is recorded when its session is known to be over.
    """
    return sum(1 << kind for kind in _KINDS[policy])


@njit(cache=True, inline="always")
def observe_fill(event: Record, account: Record) -> None:
    """Take a fill into the summary of a lane whose policy is METRICS."""


@njit(cache=True, inline="always")
def observe_equity(event: Record, session: int, account: Record) -> None:
    """Take the equity after a slice into the summary of a lane whose policy is METRICS."""
