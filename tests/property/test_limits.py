"""Amounts of any size: counted, or rejected; never wrapped, never taken for null."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streambt_spark.core.broker.allocation import (
    AllIn,
    EqualWeight,
    FixedSize,
    PercentOfEquity,
    TargetPercent,
)
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.ledger.fields import REGISTRY, Kind
from streambt_spark.core.market.instruments import Instrument
from streambt_spark.core.market.panel import Panel
from tests.lanes import fold_lane

PRICES = st.sampled_from((1e-300, 1e-12, 1e-8, 0.001, 0.5, 10.0, 1e5, 1e9, 1e13, 1e16, 1e300))
ALLOCATIONS = (FixedSize(1), PercentOfEquity(1), TargetPercent(0.5), AllIn(), EqualWeight(1))
INSTRUMENTS = (
    Instrument(),
    Instrument(lot=1e-8),
    Instrument(lot=1e6, multiplier=1e12),
    Instrument(tick=1e-9, lot=1e-15 * 1e3, multiplier=1e-9),
)


@st.composite
def accounts(draw: st.DrawFn) -> tuple[Panel, np.ndarray, Broker, object]:
    """Draw up to 8 slices of two symbols at wild prices, and an account that trades in them."""
    slices = draw(st.integers(1, 8))
    cells = draw(st.lists(PRICES, min_size=2 * slices, max_size=2 * slices))
    wishes = draw(
        st.lists(st.sampled_from((1.0, -1.0, 0.0)), min_size=2 * slices, max_size=2 * slices)
    )
    price = np.array(cells).reshape(slices, 2)
    ts = np.arange(slices, dtype=np.int64)
    panel = Panel(("A", "B"), ts, np.ones((slices, 2), bool), *(price,) * 4, np.ones_like(price))
    broker = Broker(
        cash=draw(st.sampled_from((1.0, 1e6, 9e13))),
        commission=draw(st.sampled_from((0, "0.1%", 1e300, "9/share"))),
        slippage=draw(st.sampled_from((None, "5%"))),
        allow_short=draw(st.booleans()),
        instruments={name: draw(st.sampled_from(INSTRUMENTS)) for name in "AB"},
    )
    return panel, np.array(wishes).reshape(slices, 2), broker, draw(st.sampled_from(ALLOCATIONS))


@given(accounts())
def test_every_amount_is_a_count(case: tuple[Panel, np.ndarray, Broker, object]) -> None:
    """No quantity below zero, no money that is null or unbounded, cash the sum of its postings."""
    panel, wishes, broker, allocation = case
    events = fold_lane(panel, wishes, broker, allocation)  # type: ignore[arg-type]
    for kind in REGISTRY.kinds:
        some = events.take(events.kind == kind.number)
        for name in set(kind.fields) & {"amount", "commission", "cash", "equity", "exposure"}:
            values = [int(value) for value in getattr(some, name)]
            assert all(abs(value) < 2**62 for value in values), (kind.name, name)
    fills = events.take(events.kind == Kind.FILL)
    assert (fills.quantity > 0).all()
    assert (fills.quantity < 2**53).all()
    assert (np.sign(fills.amount + fills.commission) * fills.side <= 0).all()
    posted = events.take(np.isin(events.kind, (Kind.CASH, Kind.FILL)))
    assert list(accumulate(map(int, posted.amount))) == posted.cash.tolist()
    equity = events.take(events.kind == Kind.EQUITY)
    assert (equity.exposure >= np.abs(equity.equity - equity.cash)).all()
    if not broker.allow_short:
        assert (fills.position >= 0).all()
        assert (equity.equity >= 0).all()
