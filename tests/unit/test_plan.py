"""Plans: names of lanes and plans, and the nodes that are needed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streambt_spark.core.broker.allocation import (
    AllIn,
    EqualWeight,
    FixedSize,
    PercentOfEquity,
    TargetPercent,
)
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.indicators.graph import BARS, DATA, Graph, Ref, compile_graph
from streambt_spark.core.indicators.library import resolve
from streambt_spark.core.plan import Plan, compile_plan, lane, needed
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


def test_labels_and_records_do_not_name_a_lane() -> None:
    """They change nothing that the account does; the plan knows what it records."""
    plain = lane(CLOSE, AllIn(), Broker())
    called = lane(CLOSE, AllIn(), Broker(), label={"fast": 10, "rates": [1.5, None]})
    few = lane(CLOSE, AllIn(), Broker(), record="equity")
    assert plain.name == called.name == few.name
    assert called.label == {"fast": 10, "rates": (1.5, None)}
    plans = [Plan(("A",), "1d", (), (one,)) for one in (plain, called, few)]
    assert plans[0].identity == plans[1].identity != plans[2].identity


@pytest.mark.parametrize("label", [{"x": object()}, {"x": {1: 2}}, {3: 4}, "fast"])
def test_a_label_holds_plain_values(label: object) -> None:
    """Numbers, texts, booleans, None, and tuples of them, by name."""
    with pytest.raises(BadParameter, match="label"):
        lane(CLOSE, AllIn(), Broker(), label=label)  # type: ignore[arg-type]


def test_a_program_holds_all_that_a_step_needs() -> None:
    """Lanes of one account share how its symbols trade; each knows its number and currency."""
    yen = Broker(cash=5, currency="JPY")
    lanes = (
        lane(CLOSE, FixedSize(1), Broker()),
        lane(CLOSE, FixedSize(2), Broker()),
        lane(OPEN, own, yen),
    )
    plan = Plan(("A", "B"), "1d", (), lanes)
    program = compile_plan(plan)
    first, second, third = program.lanes
    assert first.traded is second.traded
    assert first.traded is not third.traded
    assert [int(terms.terms["lane"][0]) for terms in program.lanes] == [0, 1, 2]
    assert plan.currencies == ("JPY", "USD")
    assert [int(terms.terms["currency"][0]) for terms in program.lanes] == [1, 1, 0]
    assert [terms.function for terms in program.lanes] == [None, None, own]
    assert program.identity == plan.identity


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
