"""Rows packed for the operator: every row arrives, translated and checked."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from streambt_spark.core.market.bars import DAY_US
from streambt_spark.core.market.faults import FAULTS, Reason
from streambt_spark.core.market.portions import Part
from streambt_spark.core.market.slices import Mark, Rows
from streambt_spark.streams.packing import from_bytes, packer, parts_of, rows_of, to_bytes

SYMBOLS = ("A", "B")


def batch(*rows: tuple[object, ...]) -> pa.RecordBatch:
    """Return a batch of STREAM: symbol, ts in days, close (all prices), seq, mark."""
    symbol, day, close, seq, mark = zip(*rows, strict=True)
    ts = pa.array([None if d is None else d * DAY_US for d in day], pa.int64())
    prices = [pa.array(close, pa.float64())] * 4
    return pa.RecordBatch.from_arrays(
        [
            pa.array(symbol, pa.string()),
            ts.cast(pa.timestamp("us", tz="UTC")),
            *prices,
            pa.array([1.0] * len(rows)),
            pa.array(seq, pa.int64()),
            pa.array(mark, pa.string()),
        ],
        names=["symbol", "ts", "open", "high", "low", "close", "volume", "seq", "mark"],
    )


def parts(packs: pa.RecordBatch) -> list[Part]:
    """Return packs as the operator takes them."""
    return list(parts_of(packs.to_pandas()))


def faults(rows: Rows) -> list[Reason | None]:
    """Return the fault of each row."""
    return [FAULTS[code] for code in rows.fault]


def test_marks_and_codes() -> None:
    """Symbols become their number, marks theirs; a mark for all, or of no symbol, has -1."""
    rows = rows_of(
        batch(
            ("B", 1, 5.0, None, "bar"),
            ("A", 1, 5.0, 7, "heartbeat"),
            (None, 2, None, None, "end"),
        ),
        SYMBOLS,
    )
    assert rows.code.tolist() == [1, 0, -1]
    assert rows.mark.tolist() == [Mark.BAR, Mark.HEARTBEAT, Mark.END]
    assert rows.seq.tolist() == [0, 7, 0]
    assert rows.ts.tolist() == [DAY_US, DAY_US, 2 * DAY_US]


def test_a_mark_of_a_foreign_symbol_says_nothing() -> None:
    """Only a mark without a symbol speaks for all; one of a symbol not traded is left out."""
    assert len(rows_of(batch(("C", 1, None, None, "end")), SYMBOLS)) == 0


def test_bad_rows_carry_their_reason() -> None:
    """A row is never dropped: unknown, invalid and unreadable ones are told apart."""
    pack = packer(SYMBOLS, "1d")
    given = batch(
        ("A", 1, 5.0, None, "bar"),
        ("C", 1, 5.0, None, "bar"),
        ("A", 2, -5.0, None, "bar"),
        ("A", 3, None, None, "bar"),
        (None, None, None, None, "malformed"),
        ("A", 4, 5.0, None, "no such mark"),
    )
    rows = Rows.concat(*(part.load() for out in pack(iter([given])) for part in parts(out)))
    assert faults(rows) == [
        None,
        Reason.UNKNOWN_SYMBOL,
        Reason.NON_POSITIVE_PRICE,
        Reason.NOT_FINITE,
        Reason.MALFORMED,
        Reason.MALFORMED,
    ]


def test_a_pack_holds_every_bit() -> None:
    """Bytes give back every column as it was: its type, its order, its NaN."""
    rows = rows_of(
        batch(
            ("A", 1, 0.1 + 0.2, 3, "bar"),
            ("B", 1, 1e-300, None, "bar"),
            (None, 1, None, 1, "end"),
        ),
        SYMBOLS,
    )
    found = from_bytes(to_bytes(rows))
    for name in Rows.__slots__:
        assert getattr(found, name).dtype == getattr(rows, name).dtype
        assert getattr(found, name).tobytes() == getattr(rows, name).tobytes()
    assert np.isnan(found.close[-1])


def test_a_pack_tells_how_many_rows_it_has_and_when() -> None:
    """A batch is cut into packs of at most `most` rows, whose times need not be in order."""
    cells = [("A", day, 5.0, None, "bar") for day in (3, 1, 2, 7, 5)]
    packs = list(packer(SYMBOLS, "1d", 3)(iter([batch(*cells)])))
    told = [(part.count, part.first, part.last) for pack in packs for part in parts(pack)]
    assert told == [(3, DAY_US, 3 * DAY_US), (2, 5 * DAY_US, 7 * DAY_US)]
    rows = [part.load() for pack in packs for part in parts(pack)]
    assert [part.ts.tolist() for part in rows] == [
        [3 * DAY_US, DAY_US, 2 * DAY_US],
        [7 * DAY_US, 5 * DAY_US],
    ]
