"""A block: what it tells of its rows, and that lanes do not disturb one another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from streambt_spark.core import plan as plans
from streambt_spark.core.block import open_block, step
from streambt_spark.core.broker.allocation import FixedSize
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.indicators.graph import BARS, Ref
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import NULL, REASONS, Kind
from streambt_spark.core.market.bars import FAULTS, Reason
from streambt_spark.core.market.slices import Mark, Rows, rows_of_bars, rows_of_mark
from streambt_spark.core.plan import Plan, compile_plan
from streambt_spark.core.state import encode
from streambt_spark.engines import local
from tests.property.streams import bars_of, bits
from tests.property.test_state import plan_of

NAMES = ("A", "B")
PULSE = plans.lane(Ref(BARS, "close"), FixedSize(1), Broker(cash=1_000))
PLAN = Plan(NAMES, "1d", (), (PULSE,))
PROGRAM = compile_plan(PLAN)
WHOLE = rows_of_bars(bars_of(np.ones((3, 2), bool), 1))


def told(events: Events) -> list[tuple[str, str | None, int]]:
    """Return the audit events: kind, reason, count (0 for none)."""
    rows = zip(events.kind, events.reason, events.count, events.lane, strict=True)
    return [
        (Kind(k).name, REASONS[r], 0 if n == NULL else int(n)) for k, r, n, lane in rows if lane < 0
    ]


def test_every_row_is_told_of() -> None:
    """Accepted rows as a count, each row set aside also by itself, then the end, once."""
    block, events = step(PROGRAM, open_block(PROGRAM), WHOLE)
    assert told(events) == [("COUNTS", "read", 6), ("COUNTS", "accepted", 6)]
    bad = replace(
        WHOLE.take(slice(0, 1)), fault=np.array([FAULTS.index(Reason.NOT_FINITE)], np.int8)
    )
    again = WHOLE.take(slice(4, 6))
    block, events = step(PROGRAM, block, Rows.concat(bad, again))
    assert told(events) == [
        ("LATE", "late", 0),
        ("LATE", "late", 0),
        ("REJECTED", "not_finite", 0),
        ("COUNTS", "read", 3),
        ("COUNTS", "late", 2),
        ("COUNTS", "rejected", 1),
    ]
    assert events.seq[events.lane < 0].tolist() == [2, 3, 4, 5, 6, 7]
    block, events = step(PROGRAM, block, rows_of_mark(Mark.END, 0))
    assert told(events) == [("END", None, 0)]
    assert told(step(PROGRAM, block, rows_of_mark(Mark.END, 0))[1]) == []


def test_a_duplicate_is_told_of() -> None:
    """Twice in one call, while the slice is not out."""
    first = WHOLE.take(slice(0, 1))
    _, events = step(PROGRAM, open_block(PROGRAM), Rows.concat(first, first))
    assert told(events)[0] == ("DUPLICATE", "duplicate", 0)


def test_no_rows_are_no_events() -> None:
    """An empty micro-batch leaves no trace."""
    assert len(step(PROGRAM, open_block(PROGRAM), Rows.none())[1]) == 0


def test_a_column_of_the_bars_may_be_the_pulse() -> None:
    """A close is above zero, so it asks to be long."""
    events = local.run(PLAN, bars_of(np.ones((3, 2), bool), 1))
    assert (events.kind == Kind.FILL).sum() == 2


def test_lanes_side_by_side_are_lanes_one_after_another() -> None:
    """On three threads: the same events in the same order, and the same state."""
    plan = plan_of(NAMES)
    program = compile_plan(plan)
    rows = rows_of_bars(bars_of(np.ones((40, 2), bool), 3))
    with ThreadPoolExecutor(3) as pool:
        after, events = step(program, open_block(program), rows, run=pool.map)
    expected, alone = step(program, open_block(program), rows)
    assert events.records.tobytes() == alone.records.tobytes()
    assert encode(after, program) == encode(expected, program)
    assert set(events.lane.tolist()) == {-1, 0, 1, 2}


def test_a_lane_is_the_same_alone_and_among_others() -> None:
    """Each lane of a block has the events it has in a block of its own."""
    bars = bars_of(np.random.default_rng(3).random((30, 2)) > 0.2, 3)
    together = plan_of(NAMES)
    events = local.run(together, bars)
    for number, lane in enumerate(together.lanes):
        alone = local.run(replace(together, lanes=(lane,)), bars)
        mine = events.lane == number
        shared = events.take(mine).with_column("lane", 0)
        assert bits(shared)[1:] == bits(alone)[1:]
        assert len(shared) > 30
