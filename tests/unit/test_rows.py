"""Rows: the registry of their kinds, and what is a fault of which."""

from __future__ import annotations

import numpy as np

from streambt_spark.core.market.bars import DAY_US, FIELDS
from streambt_spark.core.market.rows import (
    COLUMNS,
    KINDS,
    LAST,
    NULL,
    UNKNOWN,
    Form,
    RowKind,
    Rows,
    kind_names,
    one_row,
    rows_of_bars,
)
from tests.property.streams import bars_of

HEADER_NAMES = {"symbol", "ts"}


def test_the_numbers_of_kinds_are_permanent() -> None:
    """They are in saved states and packs: a new kind is added at the end."""
    assert {kind.name: kind.value for kind in RowKind} == {
        "BAR": 0, "HEARTBEAT": 1, "END": 2, "FLUSH": 3, "ORDER": 4, "CANCEL": 5, "EXECUTION": 6,
        "SPLIT": 7, "DIVIDEND": 8, "RATE": 9,
    }  # fmt: skip


def test_every_kind_is_described_by_known_columns() -> None:
    """What a kind has is in the registry, what it needs it has, and each column is of a kind."""
    assert set(KINDS) == {*RowKind, UNKNOWN}
    for spec in KINDS.values():
        assert set(spec.columns) <= set(COLUMNS)
        assert set(spec.needs) <= {*spec.columns, *HEADER_NAMES}
    assert {name for spec in KINDS.values() for name in spec.columns} == set(COLUMNS)


def test_words_are_words_of_their_own_column() -> None:
    """A word column has a vocabulary that a byte can number, no other has one."""
    for column in COLUMNS.values():
        assert bool(column.words) == (column.form is Form.WORD)
        assert len(set(column.words)) == len(column.words) < 128


def test_bars_become_rows_that_may_be_used_at_their_end() -> None:
    """A daily bar is known a day after its start; it has no number, and no fault."""
    bars = bars_of(np.ones((2, 1), bool), 1)
    rows = rows_of_bars(bars)
    assert rows.known_at.tolist() == [2 * DAY_US, 3 * DAY_US]
    assert (rows.kind.tolist(), rows.fault.tolist()) == ([0, 0], [0, 0])
    assert rows.seq.tolist() == [NULL, NULL]
    assert all(rows.payload[name] is getattr(bars, name) for name in FIELDS)


def test_a_place_is_the_number_or_the_time() -> None:
    """An end without a number stands after all."""
    rows = Rows.concat(
        one_row(RowKind.HEARTBEAT, 9, seq=3),
        one_row(RowKind.HEARTBEAT, 9),
        one_row(RowKind.END, 9),
        one_row(RowKind.END, 9, seq=4),
    )
    assert rows.places().tolist() == [3, 9, LAST, 4]
    assert rows.take(slice(1, 3)).places().tolist() == [9, LAST]


def test_rows_are_not_copied_without_need() -> None:
    """One part joined, and all rows selected, are the rows themselves."""
    rows = one_row(RowKind.HEARTBEAT, 9)
    assert Rows.concat(Rows.none(), rows) is rows
    assert rows.where(np.ones(1, bool)) is rows


def test_kinds_have_names() -> None:
    """An unknown one its own."""
    rows = Rows.concat(one_row(RowKind.SPLIT, 1, ratio=2.0), one_row(UNKNOWN, 1, name="merger"))
    assert kind_names(rows) == ["split", "merger"]
