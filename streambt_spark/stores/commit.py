"""What makes data files a snapshot: one commit, written last, in Delta's log or a JSON file."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from streambt_spark.errors import DataError, SourceNotFound, StoreError
from streambt_spark.stores.files import DataFile
from streambt_spark.stores.tables import BAR_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deltalake import DeltaTable

    from streambt_spark.stores.location import Location

MANIFEST = "_manifest.json"
DELTA_LOG = "_delta_log"
WRITING = "_writing"
"""Marks a folder that a writer has begun; without a commit, what is in it is a leftover."""

_KEY = "streambt_snapshot"
_SUFFIXES = {"delta": f"{DELTA_LOG}/{0:020d}.json", "parquet": MANIFEST}


def committed(root: Location) -> str | None:
    """Return the format of the snapshot at `root`: delta, parquet, or None where there is none."""
    return next((name for name, suffix in _SUFFIXES.items() if (root / suffix).exists()), None)


def commit(root: Location, form: str, files: Sequence[DataFile], meta: dict[str, Any]) -> None:
    """Make the written files a snapshot, at once.

    Raises StoreError where another writer committed first or the store refuses.
    """
    if form == "parquet":
        content = {**meta, "files": [asdict(file) for file in files]}
        (root / MANIFEST).write_bytes(json.dumps(content, indent=1).encode())
        return
    from deltalake import Schema
    from deltalake.exceptions import DeltaError
    from deltalake.transaction import create_table_with_add_actions

    schema = BAR_SCHEMA.append(pa.field("period", pa.string()))
    try:
        create_table_with_add_actions(
            root.delta_address,
            Schema.from_arrow(schema),
            [_add_action(file) for file in files],
            mode="error",
            partition_by=["period"],
            description=json.dumps({_KEY: meta}),  # delta-rs refuses properties it does not know
            storage_options=root.delta_options,
        )
    except (DeltaError, OSError) as error:
        raise StoreError(
            f"cannot commit snapshot {root.text}: {_brief(error)}; export it again"
        ) from error


def load(root: Location, form: str, version: int) -> tuple[dict[str, Any], tuple[DataFile, ...]]:
    """Return a snapshot's metadata and its files, ascending in time.

    Raises SourceNotFound for an unknown version, DataError for files that `streambt export` did
    not write or that no longer hold the rows they were committed with.
    """
    if form == "parquet":
        if version != 0:
            raise SourceNotFound(f"snapshot {root.text} has version 0 only, not {version}")
        meta = json.loads((root / MANIFEST).read_bytes())
        files = [DataFile(**file) for file in meta.pop("files")]
    else:
        meta, files = _load_delta(root, version)
    if (rows := sum(file.rows for file in files)) != meta["rows"]:
        raise DataError(
            f"snapshot {root.text} version {version} holds {rows} rows, {meta['rows']} were "
            "exported: it was changed; export it again"
        )
    return meta, tuple(sorted(files, key=lambda file: (file.min_ts, file.path)))


def _load_delta(root: Location, version: int) -> tuple[dict[str, Any], list[DataFile]]:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    options = root.delta_options
    try:
        table = DeltaTable(root.delta_address, version=version, storage_options=options)
    except (DeltaError, OSError) as error:
        raise SourceNotFound(
            f"no version {version} of snapshot {root.text}: {_brief(error)}"
        ) from error
    description = table.metadata().description or ""
    if not description.startswith(f'{{"{_KEY}"'):
        raise DataError(
            f"Delta table {root.text} is no exported snapshot; write one with streambt export"
        )
    return json.loads(description)[_KEY], _delta_files(table)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _delta_files(table: DeltaTable) -> list[DataFile]:
    # Read so, and times as integers, pandas is not loaded: most tasks need nothing else of it.
    actions = pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=True)).read_all()
    names = ("path", "partition.period", "num_records", "size_bytes")
    # Delta keeps times in statistics to the millisecond; the last one is therefore rounded up.
    lows, highs = _micros(actions["min.ts"]), [ts + 999 for ts in _micros(actions["max.ts"])]
    rows = zip(*(actions[name].to_pylist() for name in names), lows, highs, strict=True)
    return [DataFile(*row) for row in rows]


def _micros(times: pa.ChunkedArray) -> list[int]:
    moments: list[int] = times.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_pylist()
    return moments


def _add_action(file: DataFile) -> Any:
    from deltalake.transaction import AddAction

    stats = {
        "numRecords": file.rows,
        "minValues": {"ts": _iso(file.min_ts)},
        "maxValues": {"ts": _iso(file.max_ts)},
        "nullCount": {name: 0 for name in BAR_SCHEMA.names if name != "seq"},
    }
    return AddAction(
        path=file.path,
        size=file.size,
        partition_values={"period": file.period},
        modification_time=time.time_ns() // 1_000_000,
        data_change=True,
        stats=json.dumps(stats),
    )


def _iso(ts: int) -> str:
    moment = datetime.fromtimestamp(ts // 1_000_000, UTC).replace(microsecond=ts % 1_000_000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
