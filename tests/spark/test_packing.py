"""Rows packed for the operator: every row arrives, translated and checked."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from streambt_spark.core.market.bars import DAY_US, FIELDS
from streambt_spark.core.market.faults import FAULTS, LATEST_US, Reason
from streambt_spark.core.market.portions import Part
from streambt_spark.core.market.rows import NULL, UNKNOWN, RowKind, Rows, one_row
from streambt_spark.streams import schema
from streambt_spark.streams.packing import from_bytes, packer, parts_of, to_bytes
from streambt_spark.streams.rows import rows_of
from tests.property.rows import equal

SYMBOLS = ("A", "B")
Cells = dict[str, object]


def bar(symbol: str | None, day: float | None, price: float | None = 5.0, **more: object) -> Cells:
    """Return the cells of a bar; the time is in days."""
    ts = None if day is None else int(day * DAY_US)
    return {"symbol": symbol, "ts": ts, **dict.fromkeys(FIELDS, price), **more}


def mark(symbol: str | None, day: int | None, kind: str, **more: object) -> Cells:
    """Return the cells of a row of a kind."""
    return {"symbol": symbol, "ts": day and day * DAY_US, "kind": kind, **more}


def batch(*rows: Cells) -> pa.RecordBatch:
    """Return rows of the stream."""
    columns = []
    for field in schema.STREAM:
        stored = pa.int64() if pa.types.is_timestamp(field.type) else field.type
        columns.append(pa.array([row.get(field.name) for row in rows], stored).cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema.STREAM)


def read(*rows: Cells) -> Rows:
    """Return rows of the stream as the core takes them."""
    return rows_of(batch(*rows), SYMBOLS, "1d")


def parts(packs: pa.RecordBatch) -> list[Part]:
    """Return packs as the operator takes them."""
    return list(parts_of(packs.to_pandas()))


def faults(rows: Rows) -> list[Reason | None]:
    """Return the fault of each row."""
    return [FAULTS[code] for code in rows.fault]


def test_kinds_and_codes() -> None:
    """Symbols become their number, kinds theirs; a mark for all has -1, a missing kind is a bar."""
    rows = read(
        bar("B", 1),
        mark("A", 1, "heartbeat", seq=7),
        mark(None, None, "end"),
        mark("A", 2, "split", ratio=4.0),
    )
    assert rows.code.tolist() == [1, 0, -1, 0]
    assert rows.kind.tolist() == [RowKind.BAR, RowKind.HEARTBEAT, RowKind.END, RowKind.SPLIT]
    assert rows.seq.tolist() == [NULL, 7, NULL, NULL]
    assert rows.ts.tolist() == [DAY_US, DAY_US, NULL, 2 * DAY_US]
    assert rows.column("ratio").tolist()[3] == 4.0
    assert faults(rows) == [None] * 4


def test_a_bar_may_be_used_from_its_end_on() -> None:
    """A later time that is given counts, an earlier one would be a look into the future."""
    rows = read(
        bar("A", 1),
        bar("A", 2, known_at=5 * DAY_US),
        bar("A", 3, known_at=1),
        mark("A", 3, "heartbeat"),
        mark("A", 3, "split", ratio=2.0, known_at=9),
    )
    assert rows.known_at.tolist() == [2 * DAY_US, 5 * DAY_US, 4 * DAY_US, NULL, 9]


def test_only_the_columns_that_occur_are_kept() -> None:
    """And of each row only those of its kind: a bar has no side, whatever its message says."""
    assert sorted(read(bar("A", 1)).payload) == sorted(FIELDS)
    rows = read(bar("A", 1, side="buy"), mark("A", 1, "order", side="sell", quantity=1.0))
    assert sorted(rows.payload) == sorted([*FIELDS, "side", "quantity"])
    assert rows.column("side").tolist() == [-1, 1]
    assert len(read(mark("A", 1, "heartbeat")).payload) == 0


def test_a_mark_of_a_foreign_symbol_says_nothing() -> None:
    """Only a mark without a symbol speaks for all; one of a symbol not traded is left out."""
    foreign = (mark("C", 1, kind, policy="skip") for kind in ("heartbeat", "end", "flush"))
    assert len(read(*foreign)) == 0


def test_bad_rows_carry_their_reason() -> None:
    """A row is never dropped: unknown, invalid and unreadable ones are told apart."""
    given = batch(
        bar("A", 1),
        bar("C", 1),
        bar("A", 2, -5.0),
        bar("A", 3, None),
        {"fault": "malformed", "seq": 4},
        bar("A", 4, kind="no such kind"),
        bar("A", 4.5),
        mark("A", None, "heartbeat"),
        bar(None, 1),
        mark("A", 4, "order", side="bought", quantity=1.0),
        mark("A", 4, "order", quantity=1.0),
        mark("C", 4, "split", ratio=1.0),
        mark("A", 4, "split", ratio=float("inf")),
        {"fault": "bad_time", **bar("A", None)},
        {"fault": "a reason from the future", **bar("A", 1)},
    )
    pack = packer(SYMBOLS, "1d")
    rows = Rows.concat(*(part.load() for out in pack(iter([given])) for part in parts(out)))
    assert faults(rows) == [
        None,
        Reason.UNKNOWN_SYMBOL,
        Reason.NON_POSITIVE_PRICE,
        Reason.MISSING_FIELD,
        Reason.MALFORMED,
        Reason.UNKNOWN_KIND,
        Reason.OFF_GRID,
        Reason.MISSING_FIELD,
        Reason.MISSING_FIELD,
        Reason.UNKNOWN_WORD,
        Reason.MISSING_FIELD,
        Reason.UNKNOWN_SYMBOL,
        Reason.NOT_FINITE,
        Reason.BAD_TIME,
        Reason.MALFORMED,
    ]
    assert (rows.kind[5], rows.column("name")[5]) == (UNKNOWN, "no such kind")


@pytest.mark.parametrize("ts", [LATEST_US + DAY_US, 253_402_214_400_000_000, -(10**17), 10**18 - 1])
def test_a_time_that_no_table_holds_is_a_fault(ts: int) -> None:
    """Of a bar, a mark, an end and of any column that is a time."""
    rows = read(
        {**bar("A", 1), "ts": ts},
        {**mark("A", 1, "heartbeat"), "ts": ts},
        {**mark(None, 1, "end"), "ts": ts},
        mark("A", 1, "order", side="buy", quantity=1.0, expires=ts),
        {**mark("A", 1, "split", ratio=2.0), "ts": ts},
    )
    assert faults(rows) == [Reason.BAD_TIME] * 5


def test_nobody_is_believed_about_the_future() -> None:
    """A bar or heartbeat later than its own message plus one interval promises nothing."""
    sent = 3 * DAY_US + 5
    rows = read(
        bar("A", 4, sent=sent),
        bar("A", 5, sent=sent),
        bar("A", 5, -1.0, sent=sent),
        bar("A", 5),
        mark("A", 4, "heartbeat", sent=sent),
        mark(None, 5, "heartbeat", sent=sent),
        mark(None, 5, "end", sent=sent),
    )
    beyond = Reason.BEYOND_HORIZON
    expected = [None, beyond, Reason.NON_POSITIVE_PRICE, None, None, beyond, None]
    assert faults(rows) == expected


def test_a_pack_holds_every_bit() -> None:
    """Bytes give back every column as it was: its type, its order, its nulls."""
    rows = read(
        bar("A", 1, 0.1 + 0.2, seq=3),
        bar("B", 1, 1e-300),
        mark(None, 1, "end", seq=1),
        mark("A", 1, "order", side="buy", quantity=1.0, tag="é", expires=DAY_US),
        bar("A", 1, kind="merger"),
        bar("A", 1, kind="spin-off"),
    )
    for some in (rows, rows.take(slice(0, 2)), rows.take(slice(4, 5)), Rows.none()):
        assert equal(from_bytes(to_bytes(some)), some)


def test_a_kind_that_a_pack_names_and_nobody_knows_is_refused_by_name() -> None:
    """Another release may have written it: no row of it is taken for another kind."""
    pack = to_bytes(one_row(RowKind.RATE, 5, code=1, rate=2.0))
    stream = pa.ipc.open_stream(pack)
    written = stream.read_next_batch()
    head = json.loads(written.schema.metadata[b"streambt"])
    head["kinds"][RowKind.RATE] = "merger"
    renamed = written.replace_schema_metadata({"streambt": json.dumps(head)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, renamed.schema) as out:
        out.write_batch(renamed)
    rows = from_bytes(sink.getvalue().to_pybytes())
    assert (rows.kind.tolist(), rows.column("name").tolist()) == ([UNKNOWN], ["merger"])
    assert (faults(rows), rows.ts.tolist(), rows.code.tolist()) == (
        [Reason.UNKNOWN_KIND],
        [5],
        [1],
    )


def test_a_pack_tells_how_many_rows_it_has_and_where_they_stand() -> None:
    """A batch is cut into packs of at most `most` rows, whose places need not be in order."""
    cells = [bar("A", day) for day in (3, 1, 2, 7, 5)]
    packs = list(packer(SYMBOLS, "1d", 3)(iter([batch(*cells)])))
    told = [(part.count, part.first, part.last) for pack in packs for part in parts(pack)]
    assert told == [(3, DAY_US, 3 * DAY_US), (2, 5 * DAY_US, 7 * DAY_US)]
    rows = [part.load() for pack in packs for part in parts(pack)]
    assert [part.ts.tolist() for part in rows] == [
        [3 * DAY_US, DAY_US, 2 * DAY_US],
        [7 * DAY_US, 5 * DAY_US],
    ]


def test_a_malformed_row_widens_no_pack() -> None:
    """It has no time, and its number is its place; a pack of nothing else goes first."""
    malformed: Cells = {"fault": "malformed"}
    (pack,) = packer(SYMBOLS, "1d")(iter([batch(bar("A", 9, seq=70), malformed)]))
    (part,) = parts(pack)
    assert (part.count, part.first, part.last) == (2, 70, 70)
    (pack,) = packer(SYMBOLS, "1d")(iter([batch(malformed)]))
    assert (parts(pack)[0].first, parts(pack)[0].last) == (NULL, NULL)


def test_columns_that_a_source_has_not_are_null() -> None:
    """A replay gives bars and marks without number, message or payload of other kinds."""
    narrow = batch(bar("A", 1), mark(None, 1, "heartbeat")).select(schema.REPLAY.names)
    rows = rows_of(narrow, SYMBOLS, "1d")
    assert equal(rows, read(bar("A", 1), mark(None, 1, "heartbeat")))
    kindless = narrow.select([name for name in narrow.schema.names if name != "kind"])
    assert rows_of(kindless, SYMBOLS, "1d").kind.tolist() == [0, 0]


def test_what_is_faulty_stays_faulty() -> None:
    """Packing changes no fault that a row has already."""
    rows = replace(read(bar("A", 1)), fault=np.array([4], np.int8))
    assert from_bytes(to_bytes(rows)).fault.tolist() == [4]
