"""Bars on a Kafka topic: how they are written, and how Spark reads them.

A message's key is the symbol, so a symbol's bars stay in order; its value is one JSON object:
{"symbol", "ts", "open", "high", "low", "close", "volume"} with, where they say something, "seq" and
"mark". `ts` is the start of the bar, as UTC microseconds or ISO 8601 (UTC where it has no zone).
Floats are written with the fewest digits that give the same float64 again.

How a broker is reached safely comes from the environment alone: KAFKA_SECURITY_PROTOCOL,
KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SSL_CA_LOCATION (PEM).
"""

from __future__ import annotations

import os
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812 - the name every Spark user knows
from pyspark.sql.types import DoubleType, LongType, StringType, StructField, StructType

from streambt_spark.core.market.bars import FIELDS
from streambt_spark.errors import ConfigError
from streambt_spark.streams import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column, DataFrame, SparkSession

_VALUE = StructType(
    [
        StructField(schema.SYMBOL, StringType()),
        StructField(schema.TS, StringType()),
        *(StructField(name, DoubleType()) for name in FIELDS),
        StructField(schema.SEQ, LongType()),
        StructField(schema.MARK, StringType()),
    ]
)
_MECHANISMS = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


def kafka_rows(
    spark: SparkSession,
    bootstrap: str,
    topic: str,
    *,
    starting_offsets: str = "earliest",
    max_offsets_per_batch: int | None = None,
) -> DataFrame:
    """Return the stream of a topic's rows (schema STREAM).

    `starting_offsets` is earliest, latest or Spark's JSON, for a new query; a resumed one goes on
    where its checkpoint is. A message that cannot be read becomes a row with the mark 'malformed'.
    Where a bar has no seq, it is the message's offset. Data that the broker has dropped fails the
    query, for it would be missing in the ledger. Call `require_topic` first for an early error.
    """
    options = {
        "kafka.bootstrap.servers": bootstrap,
        "subscribe": topic,
        "startingOffsets": starting_offsets,
        "failOnDataLoss": "true",
        **_spark_security(os.environ),
    }
    if max_offsets_per_batch is not None:
        options["maxOffsetsPerTrigger"] = str(max_offsets_per_batch)
    return parse(spark.readStream.format("kafka").options(**options).load())


def parse(messages: DataFrame) -> DataFrame:
    """Return messages (key, value, offset) as rows (schema STREAM)."""
    value = F.from_json(F.col("value").cast("string"), _VALUE)
    read = messages.select(F.col("key").cast("string").alias("key"), "offset", value.alias("value"))
    symbol = F.coalesce("value.symbol", "key")
    ts = _timestamp(F.col("value.ts"))
    mark = F.when(F.col("value").isNull(), schema.MALFORMED).otherwise(
        F.coalesce("value.mark", F.lit(schema.BAR))
    )
    readable = _is_readable(symbol, ts, mark)
    return read.select(
        symbol.alias(schema.SYMBOL),
        ts.alias(schema.TS),
        *(F.col(f"value.{name}").alias(name) for name in FIELDS),
        F.coalesce("value.seq", "offset").alias(schema.SEQ),
        F.when(readable, mark).otherwise(schema.MALFORMED).alias(schema.MARK),
    )


def _is_readable(symbol: Column, ts: Column, mark: Column) -> Column:
    fields = [F.col(f"value.{name}").isNotNull() for name in FIELDS]
    bar = reduce(lambda a, b: a & b, fields, symbol.isNotNull() & ts.isNotNull())
    return F.coalesce(
        F.when(mark == schema.BAR, bar)
        .when(mark == schema.HEARTBEAT, ts.isNotNull())
        .when(mark == schema.END, F.lit(True)),
        F.lit(False),
    )


def _timestamp(text: Column) -> Column:
    return F.coalesce(
        F.timestamp_micros(F.when(text.rlike(r"^-?\d{1,18}$"), text.try_cast("long"))),
        F.when(~text.rlike(r"^-?\d+$"), F.try_to_timestamp(text)),
    )


def _spark_security(env: Mapping[str, str]) -> dict[str, str]:
    settings = {}
    if protocol := env.get("KAFKA_SECURITY_PROTOCOL"):
        settings["kafka.security.protocol"] = protocol
    if mechanism := env.get("KAFKA_SASL_MECHANISM"):
        if mechanism not in _MECHANISMS:
            known = ", ".join(_MECHANISMS)
            raise ConfigError(f"KAFKA_SASL_MECHANISM is {mechanism}; Spark can use {known}")
        user, password = (_quoted(env.get(f"KAFKA_SASL_{n}", "")) for n in ("USERNAME", "PASSWORD"))
        settings["kafka.sasl.mechanism"] = mechanism
        settings["kafka.sasl.jaas.config"] = (
            f"{_MECHANISMS[mechanism]} required username={user} password={password};"
        )
    if authority := env.get("KAFKA_SSL_CA_LOCATION"):
        settings["kafka.ssl.truststore.type"] = "PEM"
        settings["kafka.ssl.truststore.location"] = authority
    return settings


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
