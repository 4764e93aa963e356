"""Plans: names of lanes and plans, and the nodes that are needed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streambt_spark.core.broker.account import Broker
from streambt_spark.core.broker.allocation import (
    AllIn,
    EqualWeight,
    FixedSize,
    PercentOfEquity,
    TargetPercent,
)
from streambt_spark.core.indicators.graph import BARS, DATA, Graph, Ref, compile_graph
from streambt_spark.core.indicators.library import resolve
from streambt_spark.core.plan import Plan, lane, needed
from streambt_spark.errors import BadParameter

CLOSE, OPEN = Ref(BARS, "close"), Ref(BARS, "open")


def own(strength: object, portfolio: object, bars: object) -> dict[str, float]:
    """Ask for nothing."""
    return {}


def other(strength: object, portfolio: object, bars: object) -> dict[str, float]:
    """Ask for nothing either, in another way."""
    return dict[str, float]()


def test_different_lanes_have_different_names() -> None:
    """Pulse, allocation with its numbers, a function's source, broker."""
    allocations = (
        FixedSize(1), FixedSize(2), PercentOfEquity(1), TargetPercent(1), AllIn(), EqualWeight(),
        EqualWeight(1), own, other,
    )  # fmt: skip
    names = [lane(CLOSE, allocation, Broker()).name for allocation in allocations]
    names += [lane(OPEN, AllIn(), Broker()).name, lane(CLOSE, AllIn(), Broker(cash=1)).name]
    assert len(set(names)) == len(names)
    assert lane(CLOSE, own, Broker()) == lane(CLOSE, own, Broker())


@pytest.mark.parametrize("allocation", [0.5, "all", None, FixedSize])
def test_what_is_no_allocation_is_refused(allocation: object) -> None:
    """The message lists what is one; a class without its numbers is none."""
    with pytest.raises(BadParameter, match=r"an allocation is FixedSize, "):
        lane(CLOSE, allocation, Broker())  # type: ignore[arg-type]


def test_settings_that_do_not_suit_the_universe_stop_the_plan() -> None:
    """Before anything runs, and not in the first slice."""
    stray = lane(CLOSE, AllIn(), Broker(opening={"Z": 1}))
    with pytest.raises(BadParameter, match="outside the universe: Z"):
        Plan(("A",), "1d", (), (stray,))


def test_a_plan_is_told_by_all_that_makes_the_ledger() -> None:
    """Universe, interval, nodes and lanes."""
    graph = Graph()
    graph.add(resolve("SMA", {}), [DATA["close"]])
    nodes = compile_graph(graph).nodes
    lanes = (lane(CLOSE, AllIn(), Broker()),)
    plan = Plan(("A", "B"), "1d", nodes, lanes)
    changed = (
        plan,
        replace(plan, symbols=("A",)),
        replace(plan, interval="1h"),
        replace(plan, nodes=()),
        replace(plan, lanes=(lane(OPEN, AllIn(), Broker()),)),
    )
    assert len({p.identity for p in changed}) == len(changed)


def test_only_what_a_pulse_depends_on_is_computed() -> None:
    """The unused node is left out; the order stays."""
    graph = Graph()
    sma = graph.add(resolve("SMA", {}), [DATA["close"]])
    graph.add(resolve("RSI", {}), [DATA["close"]])
    ema = graph.add(resolve("EMA", {}), [sma])
    compiled = compile_graph(graph)
    kept = needed(compiled.nodes, [compiled.ref(ema)])
    assert [node.function.name for node in kept] == ["SMA", "EMA"]
    assert needed(compiled.nodes, [CLOSE]) == ()
