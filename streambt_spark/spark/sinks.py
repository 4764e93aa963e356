"""The ledger's table, written exactly once by Spark's Delta sink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery

DEFAULTS = {
    f"spark.databricks.delta.properties.defaults.{name}": value
    for name, value in {
        "checkpointPolicy": "classic",
        "columnMapping.mode": "none",
        "enableDeletionVectors": "false",
        "enableTypeWidening": "false",
    }.items()
}
"""What a session must ask of new tables when the query starts: a ledger is read without Spark too,
and some clusters give every table features that only Spark reads."""


def write_ledger(
    ledger: DataFrame, path: str, checkpoint: str, *, trigger: dict[str, Any], name: str
) -> StreamingQuery:
    """Start the query that appends `ledger` to the Delta table at `path`.

    A batch is one commit that carries the query's id and the batch's number, so a batch that is
    run again after a crash is not written again. The id lives in the checkpoint: the two belong
    together.
    """
    writer = ledger.writeStream.format("delta").outputMode("append").queryName(name)
    return writer.option("checkpointLocation", checkpoint).trigger(**trigger).start(path)
