"""What makes data files a snapshot: one commit, written last, in Delta's log or a JSON file."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from streambt_spark.errors import DataError, StoreError
from streambt_spark.stores.files import DataFile
from streambt_spark.stores.tables import BAR_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streambt_spark.stores.location import Location

MANIFEST = "_manifest.json"
DELTA_LOG = "_delta_log"
WRITING = "_writing"
"""The claim of a folder that a writer has begun; without a commit, what is in it is a leftover."""

_MARK = '{"streambt_snapshot": '
_SUFFIXES = {"delta": f"{DELTA_LOG}/{0:020d}.json", "parquet": MANIFEST}


def committed(root: Location) -> str | None:
    """Return the format of the snapshot at `root`: delta, parquet, or None where there is none."""
    return next((name for name, suffix in _SUFFIXES.items() if (root / suffix).exists()), None)


def commit(root: Location, form: str, files: Sequence[DataFile], meta: dict[str, Any]) -> None:
    """Make the written files a snapshot, at once.

    Raises StoreError where another writer committed first or the store refuses.
    """
    content = {**meta, "files": [asdict(file) for file in files]}
    sealed = json.dumps({**content, "sha256": _seal(content)})
    if form == "parquet":
        (root / MANIFEST).write_bytes(sealed.encode())
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
            description=f"{_MARK}{sealed}}}",  # delta-rs refuses properties it does not know
            storage_options=root.delta_options,
        )
    except (DeltaError, OSError) as error:
        raise StoreError(
            f"cannot commit snapshot {root.text}: {_brief(error)}; export it again"
        ) from error


def load(root: Location, form: str) -> tuple[dict[str, Any], tuple[DataFile, ...]]:
    """Return a snapshot's metadata and its files, ascending in time.

    Raises DataError for a table that `streambt export` did not write, and for a commit that is not
    as it was written.
    """
    place = root / _SUFFIXES[form]
    text = place.read_bytes().decode("utf-8", "replace")
    content = _described(text, root) if form == "delta" else text
    try:
        meta = json.loads(content)
        if meta.pop("sha256") != _seal(meta):
            raise ValueError
        files = [DataFile(**file) for file in meta.pop("files")]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _damaged(place) from None
    return meta, tuple(sorted(files, key=lambda file: (file.min_ts, file.path)))


def _described(log: str, root: Location) -> str:
    """Return what the table's description tells, from its first commit and nothing else.

    A later commit is another program's, and so is a checkpoint: a snapshot never changes.
    """
    try:
        actions = [json.loads(line) for line in log.splitlines()]
        table = next(action["metaData"] for action in actions if "metaData" in action)
        description = table["description"] or ""
    except (ValueError, TypeError, KeyError, StopIteration):
        raise _damaged(root / _SUFFIXES["delta"]) from None
    if not description.startswith(_MARK):
        raise DataError(
            f"Delta table {root.text} is no exported snapshot; write one with streambt export"
        )
    return str(description[len(_MARK) : -1])


def _damaged(place: Location) -> DataError:
    return DataError(f"{place.text} is damaged; restore it from a copy, or export the bars again")


def _seal(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a commit's content, in hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


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
