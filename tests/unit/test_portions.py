"""Portions: what is loaded when, and where they are cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streambt_spark.core.market.portions import Part, portions
from streambt_spark.core.market.rows import NULL, Rows
from tests.unit.test_slices import rows


def part(*ts: int, loaded: list[int] | None = None) -> Part:
    """Return bars of A at these times; `loaded` gets the first of them once they are loaded."""
    bars = rows(*(("A", t) for t in ts))

    def load() -> Rows:
        if loaded is not None:
            loaded.append(ts[0])
        return bars

    return Part(len(bars), min(ts), max(ts), load)


def times(parts: list[Part], size: int) -> list[list[int]]:
    """Return the times of each portion, sorted."""
    return [sorted(portion.ts.tolist()) for portion in portions(parts, size)]


def test_portions_are_in_the_order_of_time() -> None:
    """Parts come in any order; a portion is full once it has `size` rows."""
    parts = [part(5, 6), part(1, 2), part(7, 8), part(3, 4)]
    assert times(parts, 2) == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert times(parts, 3) == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_a_time_is_never_in_two_portions() -> None:
    """What an earlier part holds of the next one's first time waits for it."""
    assert times([part(1, 2, 3), part(3, 4)], 1) == [[1, 2, 3, 3, 4]]
    assert times([part(1), part(2, 5), part(3, 4), part(5)], 1) == [[1], [2, 3, 4], [5, 5]]


def test_parts_that_overlap_make_one_portion() -> None:
    """No row may be processed before one that could be earlier."""
    assert times([part(1, 9), part(1, 9), part(2, 8)], 1) == [[1, 1, 2, 8, 9, 9]]


def test_a_part_is_loaded_when_its_portion_is_due() -> None:
    """What comes later takes no memory yet."""
    loaded: list[int] = []
    cut = portions([part(3, loaded=loaded), part(1, loaded=loaded), part(2, loaded=loaded)], 1)
    assert loaded == []
    assert [next(cut).ts.tolist(), loaded] == [[1], [1]]
    assert [next(cut).ts.tolist(), loaded] == [[2], [1, 2]]


def test_the_last_moment_of_all_is_not_lost() -> None:
    """A faulty row may have any time, the greatest and the least too."""
    ends = np.iinfo(np.int64)
    assert times([part(ends.max), part(ends.min, 1)], 1) == [[ends.min, 1], [ends.max]]


def test_no_rows_make_no_portion() -> None:
    """Parts without rows have no time."""
    assert times([], 1) == []
    assert times([Part.of(Rows.none())], 1) == []


def test_a_faulty_row_widens_no_part() -> None:
    """Malformed messages have no time: their packs go with the first portion, others in turn."""
    broken = replace(rows(("A", 0), ("A", 9)), fault=np.ones(2, np.int8))
    mixed = Part.of(Rows.concat(broken, rows(("A", 5))))
    assert (mixed.count, mixed.first, mixed.last) == (3, 5, 5)
    assert (Part.of(broken).first, Part.of(broken).last) == (NULL, NULL)
    assert times([mixed, part(1), part(3), Part.of(broken), part(7)], 1) == [
        [0, 9],
        [1],
        [3],
        [0, 5, 9],
        [7],
    ]


def test_numbers_go_before_times() -> None:
    """A numbered stream is cut by its numbers, whatever the times say."""
    cut = portions([Part.of(rows(("A", 9), seq=1)), Part.of(rows(("A", 2), seq=2))], 1)
    assert [portion.ts.tolist() for portion in cut] == [[9], [2]]
