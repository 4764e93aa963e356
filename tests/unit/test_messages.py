"""Messages: what is written, and what becomes of everything that can stand in a topic."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streambt_spark.core.market.bars import FIELDS
from streambt_spark.core.market.rows import RowKind, Rows, one_row
from streambt_spark.streams.messages import Received, batch_of, messages_of, template

HALF_PAST = 1_709_303_400_000_000
YEAR_33658 = 999_999_999_960_000_000
PRICES = dict.fromkeys(FIELDS, 1.5)


def bar(**changes: object) -> bytes:
    """Return a bar's message; a change to None leaves the field out."""
    fields = {"symbol": "A", "ts": 5, **PRICES} | changes
    return json.dumps({k: v for k, v in fields.items() if v is not None}).encode()


def cells(value: bytes | None, key: bytes | None = b"K") -> dict[str, Any]:
    """Return what is given of a message's row; times are microseconds."""
    return given(batch_of([Received(key, value, 7)]))[0]


def given(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return what is given of each row of a batch; times are microseconds."""
    columns = {
        field.name: (column.cast("int64") if pa.types.is_timestamp(field.type) else column)
        for field, column in zip(batch.schema, batch.columns, strict=True)
    }
    rows = zip(*(column.to_pylist() for column in columns.values()), strict=True)
    return [
        {name: cell for name, cell in zip(columns, row, strict=True) if cell is not None}
        for row in rows
    ]


WHOLE = {"symbol": "A", "ts": 5, **PRICES, "seq": 7}
MALFORMED = {"symbol": "K", "seq": 7, "fault": "malformed"}
NOT_ONE_OBJECT: list[bytes | None] = [
    None,
    b"",
    b" ",
    b"null",
    b"7",
    b'"bar"',
    b"{not json",
    b"\xff\xfe",
    b"[]",
    b"[" + bar() + b"]",
    b"[" + bar() + b"," + bar(ts=6) + b"]",
    bar() + bar(ts=6),
    bar() + b"\n" + bar(ts=6),
    bar() + b"," + bar(ts=6),
    bar() + b" and more",
    bar() + b"}",
    bar() + b"]",
    bar() + b'} , {"x":1',
    bar()[:-1],
    b"{'symbol':'A','ts':5}",
    b'{"symbol":"A","ts":5,"close":NaN}',
    b'{"symbol":"A","ts":05}',
    b'{"symbol":"A" /* a comment */}',
    b'{symbol:"A"}',
]
"""Values that are not one JSON object: each is one malformed row."""

TIMES: list[tuple[Any, int | None]] = [
    (HALF_PAST, HALF_PAST),
    (str(HALF_PAST), HALF_PAST),
    (-7, -7),
    (0, 0),
    (YEAR_33658, YEAR_33658),
    (2**63 - 1, 2**63 - 1),
    ("2024-03-01T14:30:00Z", HALF_PAST),
    ("2024-03-01 15:30:00+01:00", HALF_PAST),
    ("2024-03-01T14:30:00", HALF_PAST),
    ("2024-03-01T14:30:00.000001", HALF_PAST + 1),
    ("2024-03-01T14:30:00.5Z", HALF_PAST + 500_000),
    ("2024-03-01", HALF_PAST - 52_200_000_000),
    ("1969-12-31T23:59:59.999999Z", -1),
    ("9999-12-31T00:00:00Z", 253_402_214_400_000_000),
    (2**63, None),
    ("99999999999999999999", None),
    (1.7e15, None),
    ("soon", None),
    ("", None),
    ("14:30:00", None),
    ("2024-02-30", None),
    ("2024-03-01T24:00:00Z", None),
    ("2024-03-01T14:30:00 America/New_York", None),
    ("12024-03-01", None),
    (" 5", None),
    (True, None),
]
"""What is written for a time, and the time; None for what is a bad one."""

OTHERS: list[tuple[bytes, dict[str, Any]]] = [
    (bar(), WHOLE),
    (b" \n" + bar() + b"\n ", WHOLE),
    (b"{}", {"symbol": "K", "seq": 7}),
    (bar(symbol=None), WHOLE | {"symbol": "K"}),
    (bar(seq=70), WHOLE | {"seq": 70}),
    (bar(seq="70"), WHOLE),
    (bar(seq=7.5), WHOLE),
    (bar(seq=2**63), WHOLE),
    (bar(kind="merger"), WHOLE | {"kind": "merger"}),
    (bar(interval="1m", venue={"name": "X"}), WHOLE),
    (bar(close=2), WHOLE | {"close": 2.0}),
    (bar(close=None), {k: v for k, v in WHOLE.items() if k != "close"}),
    (bar(close="1.5"), {k: v for k, v in WHOLE.items() if k != "close"}),
    (bar(close=[1.5]), {k: v for k, v in WHOLE.items() if k != "close"}),
    (bar(symbol=7), WHOLE | {"symbol": "7"}),
    (bar(symbol="\N{GREEK SMALL LETTER BETA}"), WHOLE | {"symbol": "\N{GREEK SMALL LETTER BETA}"}),
    (
        (b'{"symbol":"A","ts":5,"kind":"order","side":"buy","quantity":1,"expires":"1970-01-01",'
        b'"id":"x-1","tag":"t"}'),
        {
            "symbol": "A", "ts": 5, "seq": 7, "kind": "order", "side": "buy", "quantity": 1.0,
            "expires": 0, "id": "x-1", "tag": "t",
        },
    ),
    (b'{"kind":"order","ts":5,"expires":"soon"}',
     {"symbol": "K", "ts": 5, "seq": 7, "kind": "order", "fault": "bad_time"}),
    (b'{"kind":"end","symbol":null}', {"symbol": "K", "seq": 7, "kind": "end"}),
]  # fmt: skip
"""Other messages, and what is read of them."""


@pytest.mark.parametrize("value", NOT_ONE_OBJECT)
def test_what_is_not_one_object_is_one_malformed_row(value: bytes | None) -> None:
    """Two objects, an array, text after the object: nothing of it is taken, and it is counted."""
    assert cells(value) == MALFORMED


@pytest.mark.parametrize(("written", "ts"), TIMES)
def test_times_are_micros_or_iso(written: Any, ts: int | None) -> None:
    """UTC where there is no zone; what cannot be read is a bad time, and the rest is kept."""
    rest = {name: cell for name, cell in WHOLE.items() if name != "ts"}
    expected = rest | ({"fault": "bad_time"} if ts is None else {"ts": ts})
    assert cells(bar(ts=written)) == expected


@pytest.mark.parametrize(("value", "expected"), OTHERS)
def test_fields_are_read_by_their_type(value: bytes, expected: dict[str, Any]) -> None:
    """What a message lacks its key and offset give; of the wrong type is as not there."""
    assert cells(value) == expected


def test_without_a_key_a_mark_speaks_for_all() -> None:
    """The key names the symbol where the value does not."""
    assert cells(b'{"ts":5,"kind":"heartbeat"}', key=None) == {
        "ts": 5, "kind": "heartbeat", "seq": 7,
    }  # fmt: skip


def test_half_a_surrogate_pair_fails_nothing() -> None:
    """JSON can say what no UTF-8 can hold; the symbol is unknown then."""
    assert cells(b'{"symbol":"\\ud800"}')["symbol"] == "?"


def test_a_template_writes_what_the_codec_writes() -> None:
    """The feed's quick form of bars and marks."""
    rows = Rows.concat(
        one_row(RowKind.BAR, 5, code=0, known_at=5 + 86_400_000_000, **PRICES),
        one_row(RowKind.HEARTBEAT, 5, code=0),
        one_row(RowKind.END, 5, code=0),
    )
    quick = [
        template(RowKind.BAR) % ("A", 5, *PRICES.values()),
        template(RowKind.HEARTBEAT) % ("A", 5),
        template(RowKind.END) % ("A", 5),
    ]
    assert messages_of(rows, ["A"], "1d") == [("A", text) for text in quick]


def test_a_faulty_row_is_not_written() -> None:
    """A reader would not take it for what it was."""
    rows = one_row(RowKind.HEARTBEAT, 5)
    rows.fault[:] = np.int8(1)
    with pytest.raises(ValueError, match="row 0 is faulty"):
        messages_of(rows, ["A"], "1d")
