"""Rows as messages of a topic: how they are written, and how they are read without Spark.

A message's key is the symbol, so a symbol's rows stay in order; its value is one JSON object (RFC
8259) with the columns of `schema` that are given: {"symbol", "ts", "open", "high", "low", "close",
"volume"} for a bar, "kind" for all else, "seq" where the row has a number. Times are UTC
microseconds or ISO 8601 (UTC where there is no zone). Floats are written with the fewest digits
that give the same float64 again.

`spark.kafka.parse` reads the same messages in the JVM, to the same rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from streambt_spark.core.market.bars import interval_us
from streambt_spark.core.market.faults import Reason
from streambt_spark.core.market.rows import (
    COLUMNS,
    HEADER,
    KINDS,
    NULL,
    UNKNOWN,
    Column,
    Form,
    RowKind,
    Rows,
)
from streambt_spark.streams import schema

Message = tuple[str | None, str]
"""A key (the symbol, none for every one) and a value (JSON)."""

MICROS = r"-?[0-9]+"
DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
CLOCK = r"[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
ZONE = r"(Z|[+-][0-9]{2}:[0-9]{2})"
"""How times are written, as patterns that mean the same in Python and Java."""

_MICROS = re.compile(MICROS)
_ISO = re.compile(f"({DATE})(({CLOCK})({ZONE})?)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGS = np.iinfo(np.int64)


class Received(NamedTuple):
    """A message as a topic has it: its offset, and when it was written (UTC µs)."""

    key: bytes | None
    value: bytes | None
    offset: int
    sent: int | None = None


class _Number(str):
    """A number of JSON as it is written."""

    __slots__ = ()


def template(kind: RowKind) -> str:
    """Return a message's form for the % operator: symbol, ts and the columns that a kind needs.

    For kinds of numbers alone, and symbols that need no escape; quicker than `messages_of`.
    """
    numbers = [name for name in KINDS[kind].needs if name in COLUMNS]
    fields = "".join(f',"{name}":%r' for name in numbers)
    said = "" if kind is RowKind.BAR else f',"{schema.KIND}":"{schema.NAMES[kind]}"'
    return f'{{"{schema.SYMBOL}":"%s","{schema.TS}":%d{fields}{said}}}'


def messages_of(rows: Rows, symbols: Sequence[str], interval: str) -> list[Message]:
    """Return rows as messages; raises ValueError for a faulty one."""
    payload = {name: values.tolist() for name, values in rows.payload.items()}
    header = {name: getattr(rows, name).tolist() for name in HEADER}
    step = interval_us(interval)
    messages = []
    for at in range(len(rows)):
        row = {name: values[at] for name, values in header.items()}
        if row["fault"] or row["kind"] == UNKNOWN:
            raise ValueError(f"row {at} is faulty: only rows that may be used are written")
        cells = {name: payload[name][at] for name in KINDS[row["kind"]].columns if name in payload}
        value = _value(row, cells, symbols, step)
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        messages.append((value.get(schema.SYMBOL), text))
    return messages


def _value(
    row: Mapping[str, int], cells: Mapping[str, Any], symbols: Sequence[str], step: int
) -> dict[str, Any]:
    """Return what is given of a row, by the names of the stream."""
    bar = row["kind"] == RowKind.BAR
    implied = row["ts"] + step if bar else NULL
    known_at = NULL if row["known_at"] == implied else row["known_at"]
    value = {
        schema.SYMBOL: symbols[row["code"]] if row["code"] >= 0 else None,
        schema.TS: _nullable(row["ts"]),
        **{name: _written(COLUMNS[name], cell) for name, cell in cells.items()},
        schema.SEQ: _nullable(row["seq"]),
        schema.KNOWN_AT: _nullable(known_at),
        schema.KIND: None if bar else schema.NAMES[row["kind"]],
    }
    return {name: cell for name, cell in value.items() if cell is not None}


def _nullable(number: int) -> int | None:
    return None if number == NULL else number


def _written(column: Column, value: Any) -> Any:
    if column.form is Form.WORD:
        return column.words[value] if value >= 0 else None
    if column.form is Form.NUMBER:
        return None if value != value else value
    return None if column.form is Form.TIME and value == NULL else value


def batch_of(messages: Iterable[Received]) -> pa.RecordBatch:
    """Return messages as rows of the stream (schema STREAM), one row for each.

    What is not one JSON object is a malformed row, of the symbol that the key names; a time that
    cannot be read is a bad one; another value of a wrong type is not there.
    """
    rows = [_row(message) for message in messages]
    columns = [
        pa.array([row.get(field.name) for row in rows], _storage(field.type)).cast(field.type)
        for field in schema.STREAM
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema.STREAM)


def _storage(kind: pa.DataType) -> pa.DataType:
    return pa.int64() if pa.types.is_timestamp(kind) else kind


def _row(message: Received) -> dict[str, Any]:
    key = None if message.key is None else message.key.decode(errors="replace")
    base = {schema.SYMBOL: key, schema.SEQ: message.offset, schema.SENT: message.sent}
    try:
        text = (message.value or b"").decode(errors="replace")
        value = json.loads(
            text, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return base | {schema.FAULT: str(Reason.MALFORMED)}
    row: dict[str, Any] = dict(base)
    for name, read in _READ.items():
        if (cell := value.get(name)) is None:
            continue
        content = read(cell)
        if content is not None:
            row[name] = content
        elif read is _time:
            row[schema.FAULT] = str(Reason.BAD_TIME)
    return row


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _text(cell: Any) -> str:
    text = str(cell) if isinstance(cell, str) else json.dumps(cell, separators=(",", ":"))
    return text.encode(errors="replace").decode()  # half of a surrogate pair is no UTF-8


def _number(cell: Any) -> float | None:
    return float(cell) if isinstance(cell, _Number) else None


def _whole(cell: Any) -> int | None:
    if not (isinstance(cell, _Number) and _MICROS.fullmatch(cell)):
        return None
    number = int(cell)
    return number if _LONGS.min <= number <= _LONGS.max else None


def _time(cell: Any) -> int | None:
    text = _text(cell)
    if _MICROS.fullmatch(text):
        return _whole(_Number(text))
    iso = _ISO.fullmatch(text)
    if iso is None:
        return None
    date, clock, zone = iso[1], iso[3] or "T00:00:00", iso[5] or "Z"
    try:
        return (datetime.fromisoformat(date + clock + zone) - _EPOCH) // timedelta(microseconds=1)
    except ValueError:
        return None


_READ = {
    schema.SYMBOL: _text,
    schema.TS: _time,
    schema.SEQ: _whole,
    schema.KIND: _text,
    schema.KNOWN_AT: _time,
    **{
        column.name: {Form.NUMBER: _number, Form.TIME: _time}.get(column.form, _text)
        for column in COLUMNS.values()
        if column.name in schema.STREAM.names
    },
}
