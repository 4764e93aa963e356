"""The tables as Spark types, derived from their Arrow schemas, and the ledger."""

from __future__ import annotations

import pyarrow as pa
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

from streambt_spark.stores.ledger import LEDGER_SCHEMA
from streambt_spark.streams import schema

_TYPES: dict[pa.DataType, DataType] = {
    pa.string(): StringType(),
    pa.int64(): LongType(),
    pa.float64(): DoubleType(),
    pa.binary(): BinaryType(),
    schema.TIMESTAMP: TimestampType(),
}


def struct_of(arrow: pa.Schema) -> StructType:
    """Return the Spark form of an Arrow schema; Spark's own translation would load pandas."""
    fields = ((field.name, _TYPES[field.type], field.nullable) for field in arrow)
    return StructType([StructField(*field) for field in fields])


STREAM = struct_of(schema.STREAM)
"""Rows of every kind."""

REPLAY = struct_of(schema.REPLAY)
"""The rows of a replay."""

PACKS = struct_of(schema.PACKS)
"""What the operator takes."""


LEDGER = struct_of(LEDGER_SCHEMA)
"""A run's ledger, one event a row; money is a count of minor units (cents)."""
