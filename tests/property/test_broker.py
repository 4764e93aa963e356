"""The compiled broker against a naive one in exact fractions, and the invariants of its ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streambt_spark.core import plan as plans
from streambt_spark.core.indicators.graph import BARS, Ref
from streambt_spark.core.ledger.audit import audit
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import REGISTRY, Kind
from streambt_spark.core.ledger.trades import match_fills
from streambt_spark.core.plan import Plan
from streambt_spark.stores.ledger import ledger_table
from tests.lanes import fold_lane
from tests.ledgers import fills_of
from tests.oracle import as_ledger
from tests.property.accounts import Case, cases


def plan_of(case: Case) -> Plan:
    """Return the case's plan; its pulse is given from outside, so it names any column."""
    lane = plans.lane(Ref(BARS, "close"), case.allocation, case.broker)
    return Plan(case.panel.symbols, "1d", (), (lane,))


def ledger_of(case: Case, *cuts: int) -> Events:
    """Return the events of a case, folded in portions that end at the cuts."""
    return fold_lane(case.panel, case.strength, case.broker, case.allocation, cuts=cuts)


def rows_of(events: Events, symbols: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return events as the oracle tells them: without lane and nulls."""
    table = ledger_table(events, REGISTRY.vocabulary(["lane"], symbols, ["USD"]))
    columns = {
        name: table[name].to_pylist() for name in REGISTRY.names if name not in ("lane", "ts")
    }
    columns["ts"] = events.ts.tolist()
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


@settings(max_examples=max(600, settings().max_examples))
@given(cases())
def test_every_event_is_the_naive_brokers(case: Case) -> None:
    """Kinds, order, ids, quantities, prices and cents are those of exact arithmetic."""
    found = rows_of(ledger_of(case), case.panel.symbols)
    assert found == as_ledger(case.expected().events)


@given(cases())
def test_the_auditor_finds_nothing(case: Case) -> None:
    """Every ledger keeps the invariants of numbers, ids, time and money."""
    assert audit(plan_of(case), ledger_of(case), case.bars()) == []


@given(cases(), st.lists(st.integers(0, 12), max_size=3))
def test_any_portions_give_the_same_events(case: Case, cuts: list[int]) -> None:
    """Folding in portions, empty ones too, is folding at once."""
    whole = ledger_of(case)
    split = ledger_of(case, *cuts)
    assert whole.records.tobytes() == split.records.tobytes()


@given(cases(), st.integers(0, 12))
def test_later_bars_change_no_earlier_event(case: Case, cut: int) -> None:
    """The ledger up to a slice is the same whatever comes after it."""
    cut = min(cut, len(case.panel.ts))
    names = ("open", "high", "low", "close")
    later: dict[str, Any] = {
        n: np.concatenate((getattr(case.panel, n)[:cut], 7 * getattr(case.panel, n)[cut:]))
        for n in names
    }
    strength = np.concatenate((case.strength[:cut], -case.strength[cut:]))
    changed = replace(case, panel=replace(case.panel, **later), strength=strength)
    until = case.panel.ts[cut - 1] if cut else 0
    before = [row for row in rows_of(ledger_of(case), case.panel.symbols) if row["ts"] <= until]
    after = [row for row in rows_of(ledger_of(changed), case.panel.symbols) if row["ts"] <= until]
    assert before == after


@given(cases())
def test_no_pulse_and_no_order_leave_the_cash_alone(case: Case) -> None:
    """Without signals the equity is the start cash in every slice."""
    idle = replace(
        case, strength=np.zeros_like(case.strength), broker=replace(case.broker, opening={})
    )
    events = ledger_of(idle)
    assert set(events.kind.tolist()) <= {Kind.CASH, Kind.EQUITY}
    start = round(case.broker.cash * 100)
    assert (events.equity[events.kind == Kind.EQUITY] == start).all()


@given(cases(), st.sampled_from((2, 10)))
def test_prices_and_cash_times_k_give_equity_times_k(case: Case, k: int) -> None:
    """Accounts scale: whole lots, no slippage, no fees; then k times everything is k times it."""
    broker = replace(case.broker, commission=0, slippage=None)
    prices: dict[str, Any] = {
        n: k * getattr(case.panel, n) for n in ("open", "high", "low", "close")
    }
    small = replace(case, broker=broker)
    large = replace(
        case, broker=replace(broker, cash=k * broker.cash), panel=replace(case.panel, **prices)
    )
    if any(i.lot < 1 for i in case.broker.instruments.values()):
        return  # a thousandth of a lot makes cents of cents
    one, many = ledger_of(small), ledger_of(large)
    assert one.kind.tolist() == many.kind.tolist()
    marked = one.kind == Kind.EQUITY
    assert (k * one.equity[marked] == many.equity[marked]).all()


@given(cases())
def test_equity_is_the_start_and_what_trades_and_open_lots_made(case: Case) -> None:
    """Equity less start cash == closed trades + what the open lots cost + what they are worth."""
    events = ledger_of(case)
    if not len(case.panel.ts):
        return
    trades, left = match_fills(fills_of(events))
    closes: dict[int, float] = {}
    for row in case.panel.close:
        closes |= {s: price for s, price in enumerate(row.tolist()) if price == price}
    held: dict[int, float] = {}
    for symbol, sign, quantity in zip(
        left.symbol.tolist(), left.side.tolist(), left.quantity.tolist(), strict=True
    ):
        held[symbol] = held.get(symbol, 0.0) + sign * quantity
    units = [case.broker.instrument(name).multiplier for name in case.panel.symbols]
    worth = sum(round(q * closes[s] * units[s] * 100, 6) for s, q in held.items())
    last = int(events.equity[events.kind == Kind.EQUITY][-1])
    made = int(trades.pnl.sum()) + int(left.amount.sum())
    assert abs(last - round(case.broker.cash * 100) - made - worth) <= len(held)
