"""Slices: when one is released, and what becomes of every row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streambt_spark.core.market.faults import FAULTS, Reason
from streambt_spark.core.market.slices import (
    Buffer,
    Mark,
    Release,
    Rows,
    advance,
    has_ended,
    open_buffer,
    rows_of_mark,
    screen,
)

NAMES = ("A", "B")


def rows(*cells: tuple[str, int] | tuple[str, int, float], seq: int = 0) -> Rows:
    """Return bars (symbol, ts, close); prices are 1 unless given."""
    n = len(cells)
    price = np.array([cell[2] if len(cell) == 3 else 1.0 for cell in cells])
    code = np.array([NAMES.index(c[0]) if c[0] in NAMES else -1 for c in cells], np.int32)
    ts = np.array([cell[1] for cell in cells], np.int64)
    zeros = np.zeros(n, np.int8)
    return Rows(
        code, ts, np.full(n, seq, np.int64), zeros, zeros, price, price, price, price, np.ones(n)
    )


def beat(ts: int, symbol: str | None = None, mark: Mark = Mark.HEARTBEAT) -> Rows:
    """Return a mark of one symbol, or of all."""
    row = rows_of_mark(mark, ts)
    return row if symbol is None else replace(row, code=np.array([NAMES.index(symbol)], np.int32))


def after(*portions: Rows) -> tuple[Buffer, Release]:
    """Return the buffer after all portions, and what the last one released."""
    buffer = open_buffer(2)
    for portion in portions:
        buffer, release = advance(buffer, portion, NAMES)
    return buffer, release


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
    buffer, release = after(rows(("A", 7), ("B", 9)), beat(0, "A", Mark.END))
    assert (release.panel.ts.tolist(), has_ended(buffer)) == ([9], False)
    buffer, release = after(rows(("A", 7)), beat(0, None, Mark.END))
    assert (release.panel.ts.tolist(), has_ended(buffer)) == ([7], True)


def test_what_comes_after_its_slice_is_late() -> None:
    """Slice 2 is out: B's bars at 1 and 2 change nothing, the one at 3 is in time."""
    buffer, release = after(rows(("A", 2)), beat(2), rows(("B", 1), ("B", 2), ("B", 3), ("A", 3)))
    assert sorted(release.late.ts.tolist()) == [1, 2]
    assert (release.read, release.accepted) == (4, 2)
    assert release.panel.ts.tolist() == [3]
    assert buffer.released == 3


def test_the_first_of_two_stays() -> None:
    """Over calls the first to arrive, within one the lowest seq, whatever the order of the rows."""
    one, two = rows(("A", 1, 10.0), seq=5), rows(("A", 1, 20.0), seq=4)
    _, over_calls = after(one, two)
    buffer, release = after(Rows.concat(one, two))
    assert (over_calls.duplicate.close.tolist(), over_calls.accepted) == ([20.0], 0)
    assert (buffer.pending.close.tolist(), release.duplicate.close.tolist()) == ([20.0], [10.0])


def test_equal_seq_leaves_no_choice_to_the_order_of_rows() -> None:
    """Two different bars of one key without numbers: the same one stays either way."""
    one, two = rows(("A", 1, 10.0)), rows(("A", 1, 20.0))
    kept = {
        after(Rows.concat(*pair))[0].pending.close.tolist()[0] for pair in ((one, two), (two, one))
    }
    assert kept == {10.0}


def test_a_bar_with_a_fault_is_set_aside_and_promises_nothing() -> None:
    """Each fault keeps its reason; slice 1 still waits for B."""
    day = 86_400_000_000
    raw = rows(("A", day), ("B", day, -1.0), ("Z", day), ("A", day + 1))
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
