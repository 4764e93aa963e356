"""The tables as Spark types: bars, the rows of a source, packs of them, and the ledger."""

from __future__ import annotations

from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import (
    BinaryType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from streambt_spark.core.market.bars import FIELDS
from streambt_spark.stores.ledger import LEDGER_SCHEMA
from streambt_spark.streams.schema import (
    COUNT,
    FIRST,
    INTERVAL,
    LAST,
    MARK,
    ROWS,
    SEQ,
    SYMBOL,
    TS,
)

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
"""The rows of a source; see `schema.MARKS`."""

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


LEDGER: StructType = from_arrow_schema(LEDGER_SCHEMA)
"""A run's ledger, one event a row; money is a count of minor units (cents)."""
