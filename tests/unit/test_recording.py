"""What a lane records: the same account under each policy, told in more or less detail."""

from __future__ import annotations

import numpy as np
import pytest

from streambt_spark import Broker, Cerebro
from streambt_spark.core.broker.allocation import FixedSize
from streambt_spark.core.ledger.audit import audit
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import REGISTRY, Kind
from streambt_spark.core.ledger.summaries import Curve, summarise, to_text
from streambt_spark.engines import local
from streambt_spark.errors import BadParameter
from tests.golden.table import planned
from tests.lanes import fold_lane
from tests.ledgers import fills_of
from tests.property.accounts import panel_of
from tests.property.streams import bars_of

DAY = 86_400_000_000
BROKER = Broker(cash=1_000, commission=1)
PANEL = panel_of(np.ones((9, 1), bool), np.full((9, 1, 4), [1000, 1010, 0, 0]), np.ones(1))
WISHES = np.array([[1.0], [1], [-1], [1], [-1], [0], [1], [1], [1]])
SESSIONS = np.arange(9) // 4  # of four slices, four, and one that is not over


def recorded(record: str, *cuts: int) -> Events:
    """Return the events of the lane under a policy."""
    return fold_lane(
        PANEL, WISHES, BROKER, FixedSize(10), record=record, sessions=SESSIONS, cuts=cuts
    )


FULL = recorded("full")


def told(events: Events, *kinds: Kind) -> list[tuple[object, ...]]:
    """Return the events of some kinds, without their numbers."""
    names = [name for name in REGISTRY.names if name != "seq"]
    some = events.take(np.isin(events.kind, kinds))
    return list(zip(*(getattr(some, name).tolist() for name in names), strict=True))


def test_fills_and_session_ends_are_those_of_the_full_ledger() -> None:
    """With the orders' ids, in the same order, numbered without a gap; no orders."""
    few = recorded("equity")
    kinds = (Kind.CASH, Kind.FILL, Kind.REJECT)
    assert repr(told(few, *kinds)) == repr(told(FULL, *kinds))
    assert len(told(few, Kind.FILL)) == 5
    ends = [row for row in told(FULL, Kind.EQUITY) if row[1] in (4 * DAY, 8 * DAY, 9 * DAY)]
    assert repr(told(few, Kind.EQUITY)) == repr(ends)
    assert Kind.ORDER not in few.kind
    assert few.seq.tolist() == list(range(len(few)))
    assert (np.diff(few.ts) >= 0).all()


@pytest.mark.parametrize("record", ["equity", "metrics"])
@pytest.mark.parametrize("cuts", [(1,), (3, 4), (4, 5), (2, 6, 8), tuple(range(9))])
def test_portions_do_not_show(record: str, cuts: tuple[int, ...]) -> None:
    """A session's end is told once, and the summary is the same, wherever the portions end."""
    cut, whole = recorded(record, *cuts), recorded(record)
    assert cut.records.tobytes() == whole.records.tobytes()
    assert cut.texts == whole.texts


@pytest.mark.parametrize("record", ["equity", "metrics"])
def test_the_last_event_is_the_summary_of_the_full_ledger(record: str) -> None:
    """To the bit, at the time of the last slice."""
    curve = Curve(FULL.ts[FULL.kind == Kind.EQUITY], SESSIONS, *(
        np.ascontiguousarray(getattr(FULL, name)[FULL.kind == Kind.EQUITY])
        for name in ("equity", "exposure")
    ))  # fmt: skip
    fills = fills_of(FULL)
    ends = np.array([0, len(curve)]), np.array([0, len(fills)])
    (whole,) = summarise(np.array([100_000]), curve, ends[0], fills, ends[1], 1)
    last = recorded(record).take(slice(-1, None))
    assert (last.kind.tolist(), last.ts.tolist()) == ([Kind.SUMMARY], [9 * DAY])
    assert last.texts == (to_text(whole),)


def test_a_lane_of_metrics_tells_nothing_on_its_way() -> None:
    """But for why it no longer trades; the last event is its summary."""
    assert recorded("metrics").kind.tolist() == [Kind.SUMMARY]
    ticks = np.array([[[1000, 1000, 0, 0]]] * 2 + [[[10**18, 10**18, 0, 0]]])
    panel = panel_of(np.ones((3, 1), bool), ticks, np.ones(1))
    events = fold_lane(panel, np.ones((3, 1)), BROKER, FixedSize(10), record="metrics")
    assert events.kind.tolist() == [Kind.DISABLED, Kind.SUMMARY]
    assert events.seq.tolist() == [0, 1]


@pytest.mark.parametrize("record", ["full", "equity", "metrics"])
def test_events_carry_the_fields_of_their_kind(record: str) -> None:
    """And no others: what a kind does not have is null."""
    events = recorded(record)
    for kind in REGISTRY.kinds:
        some = events.take(events.kind == kind.number)
        for field in REGISTRY.fields:
            if field.name not in ("lane", "ts", "seq", "kind", *kind.fields):
                assert field.nulls(getattr(some, field.name)).all(), (kind.name, field.name)


def test_a_run_of_several_policies() -> None:
    """Each strategy has its own; the auditor finds nothing, and the plan knows the difference."""
    bars = bars_of(np.ones((30, 2), bool), 4)

    def cerebro(record: str) -> Cerebro:
        built = Cerebro(Broker(cash=1_000))
        data = built.add_data(bars)
        wishes = tuple(float(wish) for wish in np.resize([1, 0, -1], 30))
        pulse = built.add_indicator(planned, data["ts"], first=1, wishes=wishes)
        built.add_strat(pulse, FixedSize(3), label={"size": 3}, record=record)  # type: ignore[arg-type]
        built.add_strat(pulse, FixedSize(4), label={"size": 4})
        return built

    plan = cerebro("equity").plan()
    events = local.run(plan, bars)
    assert audit(plan, events, bars) == []
    assert (events.take(events.lane == 0).kind == Kind.EQUITY).sum() == 30  # daily bars
    assert Kind.ORDER in events.take(events.lane == 1).kind
    assert [dict(lane.label) for lane in plan.lanes] == [{"size": 3}, {"size": 4}]
    full = cerebro("full").plan()
    assert [lane.name for lane in full.lanes] == [lane.name for lane in plan.lanes]
    assert full.identity != plan.identity


def test_an_unknown_policy_is_refused() -> None:
    """With the names there are."""
    built = Cerebro(BROKER)
    pulse = built.add_data(bars_of(np.ones((3, 1), bool), 1))["close"]
    with pytest.raises(BadParameter, match=r"record 'ful' is not known \(did you mean full\?\)"):
        built.add_strat(pulse, FixedSize(1), record="ful")  # type: ignore[arg-type]
