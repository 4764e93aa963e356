"""The tables as Spark types: bars, the rows of a source, packs of them, and the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql.types import (
    BinaryType,
    DataType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from streambt_spark.core.bars import FIELDS
from streambt_spark.core.ledger import COLUMNS, DTYPES
from streambt_spark.core.slices import Mark

if TYPE_CHECKING:
    from collections.abc import Mapping

SYMBOL = "symbol"
TS = "ts"
INTERVAL = "interval"
SEQ = "seq"
MARK = "mark"


MARKS = (*(mark.name.lower() for mark in Mark), "malformed")
"""What a stream row is.

A heartbeat says that its symbol has shown all its bars up to and including its time, an end that
no more will come; where symbol is null both speak for every symbol. A malformed row could not be
parsed; its symbol and time are there only where they were readable.
"""
BAR, HEARTBEAT, END = MARKS[: len(Mark)]
MALFORMED = MARKS[-1]

BARS = StructType(
    [
        StructField(SYMBOL, StringType(), nullable=False),
        StructField(TS, TimestampType(), nullable=False),
        *(StructField(name, DoubleType(), nullable=False) for name in FIELDS),
        StructField(INTERVAL, StringType(), nullable=False),
        StructField(SEQ, LongType()),
    ]
)
"""A bar table, sorted by (ts, symbol); ts is the start of the bar, UTC."""

STREAM = StructType(
    [
        StructField(SYMBOL, StringType()),
        StructField(TS, TimestampType()),
        *(StructField(name, DoubleType()) for name in FIELDS),
        StructField(SEQ, LongType()),
        StructField(MARK, StringType(), nullable=False),
    ]
)
"""The rows of a source; see `MARKS`."""

ROWS, COUNT, FIRST, LAST = "rows", "count", "first", "last"
PACKS = StructType(
    [
        StructField(ROWS, BinaryType(), nullable=False),
        StructField(COUNT, LongType(), nullable=False),
        StructField(FIRST, LongType(), nullable=False),
        StructField(LAST, LongType(), nullable=False),
    ]
)
"""What the operator takes: many rows of STREAM in one (see `packing`), with their number and their
first and last time (UTC µs)."""


def _ledger(types: Mapping[str, DataType]) -> StructType:
    required = {"lane", TS, SEQ, "kind"}
    return StructType([StructField(n, types[n], nullable=n not in required) for n in COLUMNS])


LEDGER = _ledger(
    {
        name: DoubleType() if dtype().dtype.kind == "f" else LongType()
        for name, dtype in DTYPES.items()
    }
    | {TS: TimestampType()}
    | dict.fromkeys(("lane", "kind", SYMBOL, "side", "reason"), StringType())
)
"""A run's ledger, one event a row; money is a count of minor units (cents)."""
