"""Rows of every kind through every form they travel in: the same rows come out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streambt_spark.core.market.faults import FAULTS
from streambt_spark.core.market.rows import COLUMNS, NULL, UNKNOWN, Rows, columns_of
from streambt_spark.streams import schema
from streambt_spark.streams.messages import Received, batch_of, messages_of
from streambt_spark.streams.packing import from_bytes, to_bytes
from streambt_spark.streams.rows import rows_of
from tests.property.rows import SYMBOLS, TEXTS, equal, sound_rows


def received(rows: Rows) -> list[Received]:
    """Return rows as the messages that a topic has, from offset 0 on."""
    return [
        Received(None if key is None else key.encode(), value.encode(), offset)
        for offset, (key, value) in enumerate(messages_of(rows, SYMBOLS, "1d"))
    ]


def numbered(rows: Rows) -> Rows:
    """Return rows with their index as the number of those that have none."""
    return replace(rows, seq=np.where(rows.seq == NULL, np.arange(len(rows)), rows.seq))


@given(sound_rows())
def test_messages_give_the_rows_again(rows: Rows) -> None:
    """Every column of every kind to the bit; a row without a number gets its offset."""
    batch = batch_of(received(rows))
    assert equal(rows_of(batch, SYMBOLS, "1d"), numbered(rows))


@given(sound_rows(), st.data())
def test_packs_give_the_rows_again(rows: Rows, data: st.DataObject) -> None:
    """Faulty ones, and those of kinds that are not known, too."""
    chosen = st.lists(st.integers(0, len(FAULTS) - 1), min_size=len(rows), max_size=len(rows))
    rows = replace(rows, fault=np.array(data.draw(chosen), np.int8))
    if data.draw(st.booleans()):
        names = np.array(
            [data.draw((TEXTS | st.just("ends in \0")).filter(lambda t: t not in schema.NAMES))],
            object,
        )
        unknown = replace(
            rows.take(slice(0, 1)),
            kind=np.array([UNKNOWN], np.int8),
            fault=np.array([13], np.int8),
            payload={"name": names},
        )
        rows = Rows.concat(rows, unknown, rows)
    assert equal(from_bytes(to_bytes(rows)), rows)


@given(st.lists(st.binary(max_size=30) | st.none(), max_size=5))
def test_no_message_is_lost_and_none_fails(values: list[bytes | None]) -> None:
    """Whatever its bytes, a message is one row."""
    batch = batch_of(Received(b"A", value, at) for at, value in enumerate(values))
    assert batch.num_rows == len(values)
    assert len(rows_of(batch, SYMBOLS, "1d")) == len(values)


@given(sound_rows())
def test_parts_joined_are_the_whole(rows: Rows) -> None:
    """Columns that occur in one part only are null in the others."""
    parts = [rows.take(slice(at, at + 1)) for at in range(len(rows))]
    alone = [
        replace(p, payload={n: v for n, v in p.payload.items() if any_of(p, n)}) for p in parts
    ]
    assert equal(Rows.concat(*alone), rows)


def any_of(rows: Rows, name: str) -> bool:
    """Return whether a row's kind has a column."""
    return COLUMNS[name] in columns_of(rows.kind.tolist())


def test_the_stream_has_a_column_for_each_of_the_registry() -> None:
    """Numbers, times and texts by their form; what an unknown kind is called is its kind."""
    payload = {field.name: field.type for field in schema.STREAM}
    assert set(COLUMNS) - set(payload) == {"name"}
    found = [payload[name] for name in ("quantity", "expires", "side", "tag")]
    assert found == [pa.float64(), schema.TIMESTAMP, pa.string(), pa.string()]
