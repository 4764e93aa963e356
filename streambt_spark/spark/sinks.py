"""The ledger's table: written exactly once by Spark's Delta sink, read back without Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from pyarrow import fs

from streambt_spark.core.ledger import Kind
from streambt_spark.errors import SourceNotFound
from streambt_spark.stores.location import Location

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery


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


def read_ledger(path: str) -> pa.Table:
    """Return all rows of a ledger table. Raises SourceNotFound where there is none."""
    table = _read(path)
    if table is None:
        raise SourceNotFound(f"no ledger at {path}; run the backtest first, or check the path")
    return table


def has_ended(path: str) -> bool:
    """Return whether a ledger tells that its stream has ended; False where there is none."""
    end = Kind.END.name.lower()
    found = _read(path, columns=["kind"], filters=[("kind", "=", end)])
    return found is not None and found.num_rows > 0


def ledger_exists(path: str) -> bool:
    """Return whether there is a ledger's table."""
    return _open(path) is not None


def _read(path: str, **choice: Any) -> pa.Table | None:
    table = _open(path)
    if table is None:
        return None
    place = Location.of(path)
    # delta-rs' own file system is a Python object: Arrow's threads may still let go of its files
    # when the interpreter ends, and that aborts the process.
    files = fs.SubTreeFileSystem(place.key, place.filesystem)
    with place.guard("read"):
        return pa.table(table.to_pyarrow_table(filesystem=files, **choice))


def _open(path: str) -> DeltaTable | None:
    place = Location.of(path)
    try:
        return DeltaTable(place.delta_address, storage_options=place.delta_options)
    except TableNotFoundError:
        return None
