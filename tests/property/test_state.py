"""A block over any stream: the same events however it arrives, is cut, saved and taken up again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streambt_spark.core import plan as plans
from streambt_spark.core.block import open_block
from streambt_spark.core.broker.allocation import AllIn, EqualWeight, FixedSize
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.indicators.graph import DATA, Graph, compile_graph
from streambt_spark.core.indicators.library import indicator, resolve
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.plan import Plan, compile_plan
from streambt_spark.core.state import decode, encode
from streambt_spark.engines import local
from streambt_spark.errors import StateError
from tests.property.streams import bars_of, bits, deliveries, feed, markets


@indicator(warmup=1)
def change(close: np.ndarray) -> np.ndarray:
    """Return the sign of the change from bar to bar."""
    return np.sign(np.diff(close, prepend=np.nan))


@indicator(cross_sectional=True, warmup=0)
def best(close: np.ndarray) -> np.ndarray:
    """Return 1 for the highest close of a slice, -1 for the others."""
    return np.where(close == np.nanmax(close, axis=1, keepdims=True), 1.0, -1.0)


def plan_of(symbols: tuple[str, ...]) -> Plan:
    """Return three lanes: per symbol and across, with shorts and without, carried sums too."""
    g = Graph()
    moved = g.add(resolve(change, {}), [DATA["close"]])
    top = g.add(resolve(best, {}), [DATA["close"]])
    flow = g.add(resolve("OBV", {}), [DATA["close"], DATA["volume"]])
    turned = g.add(resolve(change, {}), [flow])
    compiled = compile_graph(g)
    settings = (
        (moved, FixedSize(10), Broker(cash=1_000, commission="0.1%", allow_short=True)),
        (top, EqualWeight(1), Broker(cash=1_000, slippage="1 tick", opening={symbols[0]: 2})),
        (turned, AllIn(), Broker(cash=500, commission=1)),
    )
    lanes = tuple(plans.lane(compiled.ref(pulse), a, b) for pulse, a, b in settings)
    return Plan(symbols, "1d", compiled.nodes, lanes)


@given(st.data())
def test_any_arrival_gives_the_same_events(data: st.DataObject) -> None:
    """Symbols that run ahead, shuffled rows and heartbeats: the ledger of the sorted bars."""
    bars = data.draw(markets())
    plan = plan_of(bars.symbols)
    _, events = feed(plan, data.draw(deliveries(bars)))
    assert bits(events) == bits(local.run(plan, bars))


@given(st.data())
def test_a_saved_block_goes_on_as_if_nothing_had_happened(data: st.DataObject) -> None:
    """Saved and restored between any two portions: the same bytes again, and the same events."""
    bars = data.draw(markets())
    plan = plan_of(bars.symbols)
    program = compile_plan(plan)
    block, parts = open_block(program), []
    for rows in data.draw(deliveries(bars)):
        saved = encode(block, program)
        restored = decode(saved, program)
        assert encode(restored, program) == saved
        block, events = feed(plan, [rows], restored)
        parts.append(events)
    assert bits(Events.concat(parts)) == bits(local.run(plan, bars))


PLAN = plan_of(("A", "B"))
PROGRAM = compile_plan(PLAN)
SAVED = encode([b for b, _ in local.fold(PLAN, bars_of(np.ones((9, 2), bool), 3), 4)][-2], PROGRAM)


@settings(max_examples=400)
@given(st.integers(0, len(SAVED) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at: int, flip: int) -> None:
    """Whatever byte, whatever bits of it."""
    damaged = bytearray(SAVED)
    damaged[at] ^= flip
    with pytest.raises(StateError):
        decode(bytes(damaged), PROGRAM)


@given(st.integers(0, len(SAVED) - 1))
def test_a_missing_end_is_noticed(length: int) -> None:
    """However much is left."""
    with pytest.raises(StateError):
        decode(SAVED[:length], PROGRAM)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_noticed(data: bytes) -> None:
    """Nothing else is taken for a state."""
    with pytest.raises(StateError):
        decode(data, PROGRAM)
