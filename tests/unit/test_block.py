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
from streambt_spark.core.ledger.fields import REASONS, Kind
from streambt_spark.core.market.bars import DAY_US
from streambt_spark.core.market.faults import FAULTS, Reason
from streambt_spark.core.market.rows import NULL, UNKNOWN, RowKind, Rows, one_row, rows_of_bars
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
    block, events = step(PROGRAM, block, one_row(RowKind.END, 0))
    assert told(events) == [("END", None, 0)]
    assert told(step(PROGRAM, block, one_row(RowKind.END, 0))[1]) == []


def test_a_duplicate_is_told_of() -> None:
    """While the slice is not out; a repetition and a bar of other values have other reasons."""
    first, other = WHOLE.take(slice(0, 1)), WHOLE.take(slice(1, 2))
    again = replace(other, code=first.code, seq=first.seq + 2)
    for second, reason in ((first, "repeated"), (again, "conflicting")):
        _, events = step(PROGRAM, open_block(PROGRAM), Rows.concat(first, second))
        assert told(events) == [
            ("DUPLICATE", reason, 0),
            ("COUNTS", "read", 2),
            ("COUNTS", "accepted", 1),
            ("COUNTS", "duplicate", 1),
        ]


def test_kinds_without_effect_yet_are_told_of_by_name() -> None:
    """Each row of them is one event with its symbol and time, and changes no account."""
    kinds = [kind for kind in RowKind if kind > RowKind.END]
    others = Rows.concat(*(one_row(kind, 5 + kind, code=1) for kind in kinds))
    block, events = step(PROGRAM, open_block(PROGRAM), others)
    assert told(events) == [("UNSUPPORTED", kind.name.lower(), 0) for kind in kinds]
    assert events.ts.tolist() == [5 + kind for kind in kinds]
    assert set(events.symbol.tolist()) == {1}
    _, alone = step(PROGRAM, open_block(PROGRAM), WHOLE)
    _, after = step(PROGRAM, block, Rows.concat(WHOLE, others))
    assert bits(after) == bits(alone)
    assert len(told(after)) == len(told(alone)) + len(kinds)


def test_a_row_whose_time_no_table_holds_is_told_of_at_the_last_slice() -> None:
    """Year 9999, and no time at all: refused, and the event has the stream's own time."""
    year_9999 = 253_402_214_400_000_000
    for ts in (year_9999, NULL):
        junk = replace(
            WHOLE.take(slice(0, 1)),
            ts=np.array([ts]),
            fault=np.array([FAULTS.index(Reason.BAD_TIME)], np.int8),
        )
        block, events = step(PROGRAM, open_block(PROGRAM), junk)
        assert (told(events)[0][:2], set(events.ts.tolist())) == (("REJECTED", "bad_time"), {0})
        _, events = step(PROGRAM, block, Rows.concat(WHOLE, junk))
        audit = events.lane < 0
        assert set(events.ts[audit].tolist()) == {int(WHOLE.ts[-1])}


def test_a_late_bar_enters_the_history_of_its_symbol() -> None:
    """B's bar at 2 misses its slice, and yet B has four bars, as if none had been late."""
    bars = bars_of(np.ones((4, 2), bool), 5)
    program = compile_plan(plan_of(NAMES))
    inputs = rows_of_bars(bars)
    late = (inputs.code == 1) & (inputs.ts == 2 * DAY_US)
    on_time, slow = inputs.take(~late), inputs.take(late)
    first, rest = on_time.take(on_time.ts <= 2 * DAY_US), on_time.take(on_time.ts > 2 * DAY_US)
    block, _ = step(program, open_block(program), first)
    block, _ = step(program, block, one_row(RowKind.HEARTBEAT, 2 * DAY_US))
    block, _ = step(program, block, slow)
    block, _ = step(program, block, Rows.concat(rest, one_row(RowKind.END, 0)))
    whole, _ = step(program, open_block(program), Rows.concat(inputs, one_row(RowKind.END, 0)))
    assert block.features.count.tolist() == whole.features.count.tolist() == [4, 4]


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


def test_a_row_of_an_unknown_kind_is_refused_by_name() -> None:
    """The event has the name that the stream gave the kind."""
    names = np.array(["merger", "spin_off", "merger"], object)
    rows = replace(
        WHOLE.take(slice(0, 3)),
        kind=np.full(3, UNKNOWN, np.int8),
        fault=np.full(3, FAULTS.index(Reason.UNKNOWN_KIND), np.int8),
        payload={"name": names},
    )
    _, events = step(PROGRAM, open_block(PROGRAM), rows)
    assert told(events)[0] == ("REJECTED", "unknown_kind", 0)
    assert [events.texts[code] for code in events.text[:3]] == ["merger", "spin_off", "merger"]
