"""The auditor: each kind of damage to a sound ledger is found, and told where."""

from __future__ import annotations

import numpy as np
import pytest

from streambt_spark.core import plan as plans
from streambt_spark.core.broker.allocation import FixedSize
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.indicators.graph import DATA, Graph, compile_graph
from streambt_spark.core.indicators.library import resolve
from streambt_spark.core.ledger.audit import audit
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import Kind
from streambt_spark.core.market.bars import Bars
from streambt_spark.core.plan import Plan
from streambt_spark.engines import local
from tests.property.streams import bars_of


def turn(close: np.ndarray) -> np.ndarray:
    """Return -1 for a price in even cents, else 1."""
    return np.where(np.round(close * 100) % 2 == 0, -1.0, 1.0)


def run() -> tuple[Plan, Events, Bars]:
    """Return a small run with fills on both sides."""
    graph = Graph()
    pulse = graph.add(resolve(turn, {}), [DATA["close"]])
    compiled = compile_graph(graph)
    lane = plans.lane(compiled.ref(pulse), FixedSize(10), Broker(cash=1_000, commission="0.1%"))
    bars = bars_of(np.ones((12, 2), bool), 5)
    plan = Plan(bars.symbols, "1d", compiled.nodes, (lane,))
    return plan, local.run(plan, bars), bars


PLAN, EVENTS, BARS = run()
FILL = int(np.flatnonzero(EVENTS.kind == Kind.FILL)[1])
EQUITY = int(np.flatnonzero(EVENTS.kind == Kind.EQUITY)[5])


def test_a_sound_ledger_has_no_violation() -> None:
    """Nothing is found in what the engine wrote."""
    assert (EVENTS.kind == Kind.FILL).sum() > 4
    assert audit(PLAN, EVENTS, BARS) == []


@pytest.mark.parametrize(
    ("column", "row", "change", "message"),
    [
        ("seq", FILL, 1, "seq is"),
        ("ts", FILL, -(10**12), "its time"),
        ("order_id", FILL, 1000, "is not open"),
        ("quantity", FILL, 1.0, "are not part of"),
        ("price", FILL, 9.0, "outside the bar"),
        ("amount", FILL, 1, "amount is"),
        ("commission", FILL, 1, "amount is"),
        ("cash", FILL, 1, "cash is"),
        ("position", FILL, 1.0, "position is"),
        ("currency", FILL, 1, "currency is"),
        ("cash", EQUITY, 1, "cash is"),
        ("equity", EQUITY, 1, "equity is"),
        ("exposure", EQUITY, -1, "exposure is"),
    ],
)
def test_each_damage_is_found(column: str, row: int, change: float, message: str) -> None:
    """One number off by the least there is."""
    damaged = getattr(EVENTS, column).copy()
    damaged[row] += change
    found = audit(PLAN, EVENTS.with_column(column, damaged), BARS)
    assert any(message in violation for violation in found), found
    assert found[0].startswith(f"lane {PLAN.lanes[0].name} event {row} ")


def test_a_price_better_than_the_open_is_found() -> None:
    """Whoever trades at the open does not get a better price than it."""
    better = EVENTS.price.copy()
    better[FILL] -= 0.01 * EVENTS.side[FILL]
    found = audit(PLAN, EVENTS.with_column("price", better), BARS)
    assert any("is better than the open" in violation for violation in found)


def test_a_missing_event_is_found() -> None:
    """The numbers have a gap."""
    less = EVENTS.take(np.arange(len(EVENTS)) != FILL)
    assert any("seq is" in violation for violation in audit(PLAN, less, BARS))


def test_a_fill_without_a_bar_is_found() -> None:
    """Nobody trades while there is no bar."""
    gone = (BARS.ts == EVENTS.ts[FILL]) & (BARS.code == EVENTS.symbol[FILL])
    assert any("has no bar" in violation for violation in audit(PLAN, EVENTS, BARS.take(~gone)))
