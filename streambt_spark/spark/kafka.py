"""Rows on a Kafka topic as Spark reads them; what the messages are is in `streams.messages`.

How a broker is reached safely comes from the environment alone: KAFKA_SECURITY_PROTOCOL,
KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SSL_CA_LOCATION (PEM).
"""

from __future__ import annotations

import os
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812 - the name every Spark user knows
from pyspark.sql.types import BooleanType, StringType, StructField, StructType, TimestampType

from streambt_spark.core.market.faults import Reason
from streambt_spark.errors import ConfigError
from streambt_spark.spark import schemas
from streambt_spark.streams import schema
from streambt_spark.streams.messages import CLOCK, DATE, MICROS, ZONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column, DataFrame, SparkSession

_TIMES = [field.name for field in schemas.STREAM if field.dataType == TimestampType()]
_VALUE = StructType(
    [
        StructField(field.name, StringType() if field.name in _TIMES else field.dataType)
        for field in schemas.STREAM
        if field.name not in (schema.SENT, schema.FAULT)
    ]
)
_WHOLE = StructType([StructField("row", _VALUE), StructField("whole", BooleanType())])
_STRICT = {"allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}
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
    """Return the stream of a topic's rows (schema STREAM), one for each message.

    `starting_offsets` is earliest, latest or Spark's JSON, for a new query; a resumed one goes on
    where its checkpoint is. A message that cannot be read becomes a row with a fault. Where a row
    has no seq, it is the message's offset. Data that the broker has dropped fails the query, for it
    would be missing in the ledger. Call `require_topic` first for an early error.
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
    """Return messages (key, value, offset, timestamp, timestampType) as rows (schema STREAM)."""
    # Spark reads the first object of a text and leaves what follows it unread; inside another
    # object, what follows breaks the JSON.
    text = F.concat(F.lit('{"row":'), F.col("value").cast("string"), F.lit(',"whole":true}'))
    read = F.from_json(text, _WHOLE, _STRICT).alias("read")
    columns = ["offset", "timestamp", "timestampType"]
    rows = messages.select(F.col("key").cast("string").alias("key"), read, *columns)
    rows = rows.withColumn("value", F.when(F.col("read.whole"), F.col("read.row")))
    cells = {name: F.col(f"value.{name}") for name in _VALUE.names}
    times = {name: _timestamp(cells[name]) for name in _TIMES if name in cells}
    unread = [cells[name].isNotNull() & time.isNull() for name, time in times.items()]
    malformed = F.when(F.col("value").isNull(), str(Reason.MALFORMED))
    known = F.col("timestampType") >= 0
    cells |= times | {
        schema.SYMBOL: F.coalesce(cells[schema.SYMBOL], "key"),
        schema.SEQ: F.coalesce(cells[schema.SEQ], "offset"),
        schema.SENT: F.when(known, F.col("timestamp")),
        schema.FAULT: malformed.when(reduce(or_, unread), str(Reason.BAD_TIME)),
    }
    return rows.select(*(cells[name].alias(name) for name in schemas.STREAM.names))


def _timestamp(text: Column) -> Column:
    """Return a time that is written as `messages` says; null where it is not."""
    micros = F.timestamp_micros(text.try_cast("long"))
    return (
        F.when(_matches(text, MICROS), micros)
        .when(_matches(text, DATE + CLOCK + ZONE), F.try_to_timestamp(text))
        .when(_matches(text, DATE + CLOCK), F.try_to_timestamp(F.concat(text, F.lit("Z"))))
        .when(_matches(text, DATE), F.try_to_timestamp(F.concat(text, F.lit("T00:00:00Z"))))
    )


def _matches(text: Column, pattern: str) -> Column:
    return text.rlike(f"^(?:{pattern})\\z")


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
