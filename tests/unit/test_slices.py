"""Slices: when one is released, and what becomes of every row."""

from __future__ import annotations

from typing import Any

import numpy as np

from streambt_spark.core.market.bars import DAY_US, FIELDS
from streambt_spark.core.market.faults import FAULTS, Reason
from streambt_spark.core.market.rows import NULL, RowKind, Rows, one_row, screen
from streambt_spark.core.market.slices import Buffer, Release, align, has_ended, open_buffer

NAMES = ("A", "B")


def rows(*cells: tuple[str, int] | tuple[str, int, float], seq: int = NULL) -> Rows:
    """Return bars (symbol, ts, price), all of one number; prices are 1 unless given."""
    n = len(cells)
    price = np.array([cell[2] if len(cell) == 3 else 1.0 for cell in cells])
    code = np.array([NAMES.index(c[0]) if c[0] in NAMES else -1 for c in cells], np.int32)
    ts = np.array([cell[1] for cell in cells], np.int64)
    zeros = np.zeros(n, np.int8)
    fields = dict.fromkeys(FIELDS, price) | {"volume": np.ones(n)}
    return Rows(zeros, code, ts, np.full(n, seq, np.int64), ts + 1, zeros, fields)


def beat(ts: int, symbol: str | None = None, kind: RowKind = RowKind.HEARTBEAT) -> Rows:
    """Return a mark of one symbol, or of all."""
    return one_row(kind, ts, code=-1 if symbol is None else NAMES.index(symbol))


def after(*portions: Rows, **options: Any) -> tuple[Buffer, Release]:
    """Return the buffer after all portions, and what the last one released."""
    buffer = open_buffer(2)
    for portion in portions:
        buffer, release = align(buffer, portion, NAMES, **options)
    return buffer, release


def prices(bars: Rows) -> list[float]:
    """Return the closes."""
    return bars.column("close").tolist()


def test_a_slice_waits_for_every_symbol() -> None:
    """A at 1 and 2, B at 1: slice 1 goes out, slice 2 may still get B's bar."""
    buffer, release = after(rows(("A", 1), ("A", 2), ("B", 1)))
    assert release.panel.ts.tolist() == [1]
    assert release.panel.present.tolist() == [[True, True]]
    assert buffer.pending.ts.tolist() == [2]


def test_a_later_bar_says_that_none_was_missing() -> None:
    """B's first bar is at 3: slices 1 and 2 are A's alone, and NaN stands for B."""
    _, release = after(rows(("A", 1), ("A", 2)), rows(("B", 3)))
    assert release.panel.ts.tolist() == [1, 2]
    assert release.panel.present.tolist() == [[True, False]] * 2
    assert np.isnan(release.panel.close[:, 1]).all()


def test_heartbeats_release_what_nobody_waits_for() -> None:
    """A heartbeat of B up to 2, or of all; one up to 1 is not enough."""
    assert after(rows(("A", 2)), beat(1, "B"))[1].panel.ts.tolist() == []
    assert after(rows(("A", 2)), beat(2, "B"))[1].panel.ts.tolist() == [2]
    assert after(rows(("A", 2)), beat(2))[1].panel.ts.tolist() == [2]


def test_the_end_releases_everything() -> None:
    """One symbol's end is not all's."""
    buffer, release = after(rows(("A", 7), ("B", 9)), beat(0, "A", RowKind.END))
    assert (release.panel.ts.tolist(), has_ended(buffer)) == ([9], False)
    buffer, release = after(rows(("A", 7)), beat(0, None, RowKind.END))
    assert (release.panel.ts.tolist(), has_ended(buffer)) == ([7], True)


def test_what_comes_after_its_slice_is_late() -> None:
    """Slice 2 is out: B's bars at 1 and 2 change nothing, the one at 3 is in time."""
    buffer, release = after(rows(("A", 2)), beat(2), rows(("B", 1), ("B", 2), ("B", 3), ("A", 3)))
    assert sorted(release.late.ts.tolist()) == [1, 2]
    assert (release.read, release.accepted) == (4, 2)
    assert release.panel.ts.tolist() == [3]
    assert buffer.released == 3


def test_a_late_bar_enters_the_history_where_it_is_in_its_own_order() -> None:
    """Slice 5 is out: B's first bars are late, the one at 3 after the one at 4 has no place."""
    calls = rows(("A", 5)), beat(5), rows(("B", 4), ("B", 6), seq=1), rows(("B", 3), ("B", 5))
    (buffer, first), (_, last) = after(*calls[:3]), after(*calls)
    assert (first.late.ts.tolist(), first.history.ts.tolist()) == ([4], [4])
    assert buffer.shown.tolist() == [5, 6]
    assert (last.late.ts.tolist(), last.history.ts.tolist()) == ([3, 5], [])


def test_the_history_is_by_symbol_then_time() -> None:
    """As each symbol's features take it up, whatever the order of the stream."""
    _, release = after(beat(9), rows(("B", 1), ("A", 2), ("B", 3), ("A", 4)), beat(9))
    assert len(release.history) == 0
    late = rows(("B", 1), ("A", 2), ("B", 3), ("A", 4))
    _, release = after(rows(("A", 0), ("B", 9)), beat(9), late)
    assert (release.history.code.tolist(), release.history.ts.tolist()) == ([0, 0], [2, 4])
    assert sorted(release.late.ts.tolist()) == [1, 2, 3, 4]


def test_a_heartbeat_in_the_same_call_makes_late_too() -> None:
    """By its number the bar at 2 comes after the heartbeat that released slice 2."""
    stream = (
        rows(("A", 1), ("A", 2), seq=1),
        one_row(RowKind.HEARTBEAT, 2, seq=2),
        rows(("B", 2), ("B", 3), seq=3),
    )
    _, at_once = after(Rows.concat(*stream))
    _, one_by_one = after(*stream)
    for release in (at_once, one_by_one):
        assert release.late.ts.tolist() == [2]
    assert at_once.panel.present.tolist() == [[True, False], [True, False]]


def test_the_lowest_number_stays() -> None:
    """In one call or in two, whichever comes first; the other one is the duplicate."""
    one, two = rows(("A", 1, 10.0), seq=5), rows(("A", 1, 20.0), seq=4)
    for calls in ((one, two), (two, one), (Rows.concat(one, two),)):
        buffer, release = after(*calls)
        assert (prices(buffer.pending), buffer.pending.seq.tolist()) == ([20.0], [4])
        assert (prices(release.duplicate), release.conflicting.tolist()) == ([10.0], [True])
    assert after(one, two)[1].accepted == 0


def test_equal_numbers_leave_no_choice_to_the_order_of_rows() -> None:
    """Two different bars of one key, without numbers or of one: the same one stays, always."""
    for seq in (NULL, 7):
        one, two = rows(("A", 1, 10.0), seq=seq), rows(("A", 1, 20.0), seq=seq)
        for calls in ((one, two), (two, one), (Rows.concat(one, two),), (Rows.concat(two, one),)):
            assert prices(after(*calls)[0].pending) == [10.0]


def test_a_repetition_is_told_from_a_conflict() -> None:
    """The same bar again, under another number, and one of other values."""
    calls = rows(("A", 1, 10.0), seq=1), rows(("A", 1, 10.0), seq=2), rows(("A", 1, 11.0), seq=3)
    _, release = after(Rows.concat(*calls))
    assert (release.duplicate.seq.tolist(), release.conflicting.tolist()) == ([2, 3], [False, True])
    assert (release.read, release.accepted) == (3, 1)


def test_a_numbered_bar_goes_before_one_without() -> None:
    """No number is the highest."""
    _, release = after(rows(("A", 1, 10.0)), rows(("A", 1, 20.0), seq=9))
    assert prices(release.duplicate) == [10.0]


def test_beyond_the_horizon_nothing_is_believed() -> None:
    """One interval after the last slice at most, for bars and heartbeats; they promise nothing."""
    bars = rows(("A", 1), ("B", 1)), rows(("A", 2), ("B", 4))
    buffer, release = after(*bars, beat(9), horizon_us=2)
    assert (release.read, len(release.rejected)) == (1, 1)
    assert (buffer.seen.tolist(), buffer.released) == ([2, 1], 1)
    buffer, release = after(*bars, horizon_us=2)
    assert release.rejected.ts.tolist() == [4]
    assert FAULTS[release.rejected.fault[0]] == Reason.BEYOND_HORIZON
    assert (release.read, release.accepted) == (2, 1)
    assert after(*bars, horizon_us=3)[1].accepted == 2
    assert after(rows(("A", 99)), horizon_us=2)[1].accepted == 1  # no slice yet, no horizon


def test_the_end_has_no_horizon() -> None:
    """Whatever time it carries, it ends the stream."""
    assert has_ended(after(rows(("A", 1)), beat(10**15, None, RowKind.END), horizon_us=2)[0])


def test_an_end_without_a_number_comes_last() -> None:
    """Its time is none: the bars of its call are in time."""
    _, release = after(Rows.concat(beat(0, None, RowKind.END), rows(("A", 7), ("B", 9))))
    assert (release.accepted, release.panel.ts.tolist()) == (2, [7, 9])


def test_an_end_comes_after_the_bars_of_its_place() -> None:
    """Its time says nothing: B's bar of the same number is in time, slice 9 is not out before."""
    bars = rows(("A", 9)), rows(("B", 5), seq=1)
    end = one_row(RowKind.END, 1, code=1, seq=1)
    for call in (Rows.concat(bars[1], end), Rows.concat(end, bars[1])):
        assert after(bars[0], call)[1].panel.ts.tolist() == [5, 9]


def test_other_kinds_are_handed_on() -> None:
    """They are no bars, say nothing of time, and release nothing."""
    order = one_row(RowKind.ORDER, 9, code=0, side="buy", quantity=1.0)
    buffer, release = after(Rows.concat(rows(("A", 1)), order))
    assert release.unsupported.kind.tolist() == [RowKind.ORDER]
    assert release.unsupported.column("quantity").tolist() == [1.0]
    assert (release.read, release.accepted, buffer.seen.tolist()) == (1, 1, [1, NULL])


def test_a_bar_with_a_fault_is_set_aside_and_promises_nothing() -> None:
    """Each fault keeps its reason; slice 1 still waits for B."""
    raw = rows(("A", DAY_US), ("B", DAY_US, -1.0), ("Z", DAY_US), ("A", DAY_US + 1))
    screened = screen(raw, "1d")
    _, release = after(screened)
    assert [FAULTS[code] for code in release.rejected.fault.tolist()] == [
        Reason.NON_POSITIVE_PRICE,
        Reason.UNKNOWN_SYMBOL,
        Reason.OFF_GRID,
    ]
    assert (release.read, release.accepted, len(release.panel.ts)) == (4, 1, 0)


def test_a_mark_is_never_screened() -> None:
    """A heartbeat has no prices and may be of no symbol."""
    assert screen(beat(5), "1d").fault.tolist() == [0]


def test_times_far_apart_are_ordered() -> None:
    """Microseconds since 1970 and a universe of two: the order's key must not overflow."""
    far = 2**62
    cells = rows(("B", far), ("A", 1), ("A", far + 1), ("B", 1))
    _, release = after(Rows.concat(cells, beat(2**63 - 2)))
    assert release.panel.ts.tolist() == [1, far, far + 1]


def test_time_is_a_column() -> None:
    """ts as float64, exactly, and NaN where there is no bar."""
    _, release = after(rows(("A", 2**52 + 1)), beat(2**52 + 1))
    assert release.panel.column("ts")[0, 0] == 2**52 + 1
    assert np.isnan(release.panel.column("ts")[0, 1])
    assert release.panel.column("close") is release.panel.close
