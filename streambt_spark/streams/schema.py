"""The forms of a stream's rows outside the core, derived from the registry of row kinds.

A stream row has a header and the payload columns of its kind; a null is what is not given. `kind`
is a name (null: a bar); a heartbeat says that its symbol has shown all its bars up to and including
its time, an end that no more will come, and where symbol is null both speak for every symbol.
`known_at` is when the row may be used (null: a bar at its end, all else at once), `sent` when the
message was written that brought it. `fault` is the Reason of a row that could not be read; its
other columns are there only where they were readable.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from streambt_spark.core.market.rows import MARKS, Column, Form, RowKind, columns_of

SYMBOL, TS, SEQ, KIND, KNOWN_AT, SENT, FAULT = (
    "symbol", "ts", "seq", "kind", "known_at", "sent", "fault",
)  # fmt: skip
NAME = "name"
"""The payload column of rows with what an unknown kind is called; here it is the kind."""
NAMES = tuple(kind.name.lower() for kind in RowKind)
"""What the stream calls the kinds, by number."""

ROWS, COUNT, FIRST, LAST = "rows", "count", "first", "last"
"""A pack: many rows in one value, with their number and their first and last place."""

TIMESTAMP = pa.timestamp("us", tz="UTC")
_TYPES = {
    Form.NUMBER: pa.float64(),
    Form.TIME: TIMESTAMP,
    Form.WORD: pa.string(),
    Form.TEXT: pa.string(),
}
_HEADER = pa.schema(
    [
        (SYMBOL, pa.string()),
        (TS, TIMESTAMP),
        (SEQ, pa.int64()),
        (KIND, pa.string()),
        (KNOWN_AT, TIMESTAMP),
        (SENT, TIMESTAMP),
        (FAULT, pa.string()),
    ]
)


def arrow_type(column: Column) -> pa.DataType:
    """Return what holds a payload column in a table."""
    return _TYPES[column.form]


def stream(kinds: Iterable[int], header: Iterable[str] = _HEADER.names) -> pa.Schema:
    """Return the schema of a stream of these kinds of rows, with these columns of the header."""
    payload = [pa.field(column.name, arrow_type(column)) for column in columns_of(kinds)]
    return pa.schema([*(_HEADER.field(name) for name in header), *payload])


STREAM = stream(RowKind)
"""Rows of every kind."""

REPLAY = stream((RowKind.BAR, *MARKS), (SYMBOL, TS, KIND))
"""Rows of a replay, whose order is their time: bars and marks."""

PACKS = pa.schema(
    [
        pa.field(ROWS, pa.binary(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in (COUNT, FIRST, LAST)),
    ]
)
"""What the operator takes: many rows in one (see `packing`)."""
