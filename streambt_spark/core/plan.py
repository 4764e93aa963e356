"""The plan: all that a run computes, compiled from what the user declared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.broker.allocation import BUILT_IN, Allocation, AllocationFunction
from streambt_spark.core.broker.recording import Policy, Recorded, policy_of
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.broker.terms import Terms, compile_terms, traded_by
from streambt_spark.core.identity import canonical, digest_of, identity_of
from streambt_spark.core.indicators.graph import Node, Ref
from streambt_spark.core.indicators.program import Program as Features
from streambt_spark.core.indicators.program import compile_program
from streambt_spark.core.ledger.fields import REGISTRY, Words
from streambt_spark.core.market.bars import interval_us
from streambt_spark.core.market.sessions import UTC_DAYS, Sessions
from streambt_spark.errors import BadParameter

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Lane:
    """A decision with its portfolio: a pulse, an allocation and an account.

    `name` is the digest of the three, so it is the same in every engine and process. `label` holds
    what the user calls it by, such as its parameters, and `record` how much of it is recorded (see
    `recording`); neither is part of the name, for neither changes what the account does.
    """

    name: str
    pulse: Ref
    allocation: Allocation
    broker: Broker
    label: Mapping[str, object] = field(default_factory=dict)
    record: Recorded = "full"

    def function(self) -> AllocationFunction | None:
        """Return the user's allocation function, or None for a built-in one."""
        return None if isinstance(self.allocation, BUILT_IN) else self.allocation

    @property
    def policy(self) -> Policy:
        """The record policy."""
        return policy_of(self.record)


@dataclass(frozen=True, slots=True)
class Plan:
    """A universe, the nodes in the order they are computed, and the lanes that trade on them.

    `sessions` tells which session a slice belongs to, for lanes that record less than all.
    Raises BadParameter where a lane's settings do not suit the universe.
    """

    symbols: tuple[str, ...]
    interval: str
    nodes: tuple[Node, ...]
    lanes: tuple[Lane, ...]
    sessions: Sessions = UTC_DAYS

    def __post_init__(self) -> None:
        _compile_lanes(self)

    @property
    def currencies(self) -> tuple[str, ...]:
        """The currencies of the lanes' accounts."""
        return tuple(sorted({lane.broker.currency for lane in self.lanes}))

    @property
    def vocabulary(self) -> dict[str, Words]:
        """What the codes of the plan's events stand for."""
        names = [lane.name for lane in self.lanes]
        return REGISTRY.vocabulary(names, self.symbols, self.currencies)

    @property
    def identity(self) -> str:
        """The digest of all that determines the ledger, but for the bars."""
        recorded = {lane.name: lane.record for lane in self.lanes if lane.policy is not Policy.FULL}
        sessions = self.sessions.identity if recorded else None
        return digest_of(
            {
                "symbols": self.symbols,
                "interval": self.interval,
                "nodes": [node.identity for node in self.nodes],
                "lanes": [lane.name for lane in self.lanes],
                "recorded": recorded,
                "sessions": sessions,
            }
        )


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A plan made ready to run: what would be worked out anew in each step is in arrays."""

    plan: Plan
    identity: str
    features: Features
    lanes: tuple[Terms, ...]

    def sessions(self, ts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of each slice's session; 0 where every lane records all anyway."""
        if all(lane.policy is Policy.FULL for lane in self.lanes):
            return np.zeros(len(ts), np.int64)
        return self.plan.sessions.session_of(ts, interval_us(self.plan.interval))


def compile_plan(plan: Plan) -> Program:
    """Return the program of a plan; a run makes it once."""
    pulses = dict.fromkeys(lane.pulse for lane in plan.lanes)
    features = compile_program(plan.nodes, tuple(pulses))
    return Program(plan, plan.identity, features, _compile_lanes(plan))


def _compile_lanes(plan: Plan) -> tuple[Terms, ...]:
    """Return the lanes' terms; lanes of one account share how its symbols trade."""
    currencies = plan.currencies
    traded: dict[str, NDArray[np.void]] = {}
    compiled = []
    for number, lane in enumerate(plan.lanes):
        broker = lane.broker
        identity = broker.identity
        if identity not in traded:
            traded[identity] = traded_by(broker, plan.symbols)
        terms = compile_terms(
            broker,
            lane.allocation,
            plan.symbols,
            policy=lane.policy,
            lane=number,
            currency=currencies.index(broker.currency),
            traded=traded[identity],
        )
        compiled.append(terms)
    return tuple(compiled)


def lane(
    pulse: Ref,
    allocation: Allocation,
    broker: Broker,
    *,
    label: Mapping[str, object] | None = None,
    record: Recorded = "full",
) -> Lane:
    """Return a lane with its name.

    Raises BadParameter where the allocation is not one, a label's value is not plain, or the record
    policy is not known.
    """
    if isinstance(allocation, BUILT_IN):
        numbers = dataclasses.astuple(allocation)
        sized = [type(allocation).__name__, [n if n is None else float(n) for n in numbers]]
    elif callable(allocation) and not isinstance(allocation, type):
        sized = ["function", identity_of(allocation)]
    else:
        raise BadParameter(
            f"an allocation is FixedSize, PercentOfEquity, TargetPercent, AllIn, EqualWeight or a "
            f"function of (strength, portfolio, bars), found {allocation!r}"
        )
    policy_of(record)
    name = digest_of(
        {"pulse": [pulse.node, pulse.output], "allocation": sized, "broker": broker.identity}
    )
    return Lane(name, pulse, allocation, broker, _plain(label or {}), record)


def _plain(label: Mapping[str, object]) -> dict[str, object]:
    if not isinstance(label, Mapping) or not all(isinstance(name, str) for name in label):
        raise BadParameter(f"a label maps names to plain values, found {label!r}")
    return {name: canonical(value, f"the label's {name!r}") for name, value in label.items()}


def needed(nodes: Sequence[Node], pulses: Sequence[Ref]) -> tuple[Node, ...]:
    """Return the nodes that the pulses depend on, in the given order."""
    by_identity = {node.identity: node for node in nodes}
    identities: set[str] = set()
    stack = [ref.node for ref in pulses]
    while stack:
        identity = stack.pop()
        if identity in by_identity and identity not in identities:
            identities.add(identity)
            stack.extend(ref.node for ref in by_identity[identity].inputs)
    return tuple(node for node in nodes if node.identity in identities)


def blocks_of(plan: Plan, count: int) -> tuple[Plan, ...]:
    """Return the plan split into at most `count` parts, each with its lanes and what they need.

    The lanes are dealt out in turn, so that the parts are of one size.
    """
    deals = [plan.lanes[first::count] for first in range(min(count, len(plan.lanes)))]
    return tuple(
        replace(plan, lanes=lanes, nodes=needed(plan.nodes, [lane.pulse for lane in lanes]))
        for lanes in deals
    )
