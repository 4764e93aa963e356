"""The plan: all that a run computes, compiled from what the user declared."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace

from streambt_spark.core.broker.account import Broker, terms
from streambt_spark.core.broker.allocation import BUILT_IN, Allocation, AllocationFunction
from streambt_spark.core.broker.kernel import Terms
from streambt_spark.core.identity import digest_of, identity_of
from streambt_spark.core.indicators.graph import Node, Ref
from streambt_spark.core.ledger.fields import REGISTRY, Words
from streambt_spark.errors import BadParameter


@dataclass(frozen=True, slots=True)
class Lane:
    """One strategy with its portfolio: a pulse, an allocation and an account.

    `name` is the digest of the three, so it is the same in every engine and process.
    """

    name: str
    pulse: Ref
    allocation: Allocation
    broker: Broker

    def function(self) -> AllocationFunction | None:
        """Return the user's allocation function, or None for a built-in one."""
        return None if isinstance(self.allocation, BUILT_IN) else self.allocation

    def terms(self, symbols: Sequence[str]) -> Terms:
        """Return the kernel's settings for a universe."""
        return terms(self.broker, self.allocation, symbols)


@dataclass(frozen=True, slots=True)
class Plan:
    """A universe, the nodes in the order they are computed, and the lanes that trade on them.

    Raises BadParameter where a lane's settings do not suit the universe.
    """

    symbols: tuple[str, ...]
    interval: str
    nodes: tuple[Node, ...]
    lanes: tuple[Lane, ...]

    def __post_init__(self) -> None:
        for lane in self.lanes:
            lane.terms(self.symbols)

    @property
    def vocabulary(self) -> dict[str, Words]:
        """What the codes of the plan's events stand for."""
        return REGISTRY.vocabulary([lane.name for lane in self.lanes], self.symbols)

    @property
    def identity(self) -> str:
        """The digest of all that determines the ledger, but for the bars."""
        return digest_of(
            {
                "symbols": self.symbols,
                "interval": self.interval,
                "nodes": [node.identity for node in self.nodes],
                "lanes": [lane.name for lane in self.lanes],
            }
        )


def lane(pulse: Ref, allocation: Allocation, broker: Broker) -> Lane:
    """Return a lane with its name. Raises BadParameter where the allocation is not one."""
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
    name = digest_of(
        {"pulse": [pulse.node, pulse.output], "allocation": sized, "broker": broker.identity}
    )
    return Lane(name, pulse, allocation, broker)


def needed(nodes: Sequence[Node], pulses: Sequence[Ref]) -> tuple[Node, ...]:
    """Return the nodes that the pulses depend on, in the given order."""
    by_identity = {node.identity: node for node in nodes}
    wanted: set[str] = set()
    stack = [ref.node for ref in pulses]
    while stack:
        identity = stack.pop()
        if identity in by_identity and identity not in wanted:
            wanted.add(identity)
            stack.extend(ref.node for ref in by_identity[identity].inputs)
    return tuple(node for node in nodes if node.identity in wanted)


def blocks_of(plan: Plan, count: int) -> tuple[Plan, ...]:
    """Return the plan split into at most `count` parts, each with its lanes and what they need.

    The lanes are dealt out in turn, so that the parts are of one size.
    """
    deals = [plan.lanes[first::count] for first in range(min(count, len(plan.lanes)))]
    return tuple(
        replace(plan, lanes=lanes, nodes=needed(plan.nodes, [lane.pulse for lane in lanes]))
        for lanes in deals
    )
