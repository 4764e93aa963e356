"""Which snapshots exist: exported from the store, checked, and never changed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from streambt_spark.core.market.bars import FIELDS, ContentDigest
from streambt_spark.errors import ConfigError, NoData, SourceNotFound, StoreConflict, did_you_mean
from streambt_spark.stores.claim import Holder, held
from streambt_spark.stores.lake import (
    Format,
    Snapshot,
    open_snapshot,
    remove_leftover,
    write_snapshot,
)
from streambt_spark.stores.location import Location
from streambt_spark.stores.tables import encode, times, to_numpy

if TYPE_CHECKING:
    from streambt_spark.stores.mongo import BarStore

_WRITING, _WRITTEN, _READY = "writing", "written", "ready"
"""An entry's status: its files are being written, are there, and were found to be right."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A snapshot in the catalogue: the name and version it was exported under."""

    name: str
    version: int
    snapshot: Snapshot


def export(
    store: BarStore,
    path: str | os.PathLike[str],
    *,
    interval: str,
    symbols: Collection[str] | None = None,
    start: int | None = None,
    end: int | None = None,
    format: Format = "delta",  # noqa: A002 - the word Spark and pandas users know
    name: str = "bars",
) -> Snapshot:
    """Write the store's bars with start ≤ ts < end (UTC µs) as snapshot <path>/<name>/<version>.

    The version is the next one of the name. The snapshot is read back and compared with the
    store, row count and content digest; only then does the catalogue name it. What killed exports
    of the name have left, whose processes are gone for certain (see `claim`), is removed. Raises
    NoData where there are no such bars (nothing is written), StoreConflict where they differ.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"snapshot name {name!r} is not valid; use letters, digits, . _ and -")
    if not store.count(interval, symbols, start, end):
        of = f" of {', '.join(sorted(symbols))}" if symbols else ""
        known = ", ".join(store.symbols(interval)) or "none"
        raise NoData(f"the store has no {interval} bars{of} in that time; it has: {known}")
    _forget_dead(store, name)
    holder = Holder.here()
    with held(holder):
        version, place = _reserve(store, Location.of(path), name, holder)
        entry = {"name": name, "version": version}

        def read() -> Iterator[pa.RecordBatch]:
            return store.read(interval, symbols, start, end)

        try:
            write_snapshot(read(), place.text, interval=interval, format=format)
            _set(store, entry, {"status": _WRITTEN})
            snapshot = _checked(place, read, interval)
        except BaseException:
            store.attempt(lambda: _entries(store).delete_one(entry))
            raise
        values: dict[str, Any] = {**asdict(snapshot), "snapshot_version": snapshot.version}
        del values["version"]
        values["symbols"] = list(snapshot.symbols)
        _set(store, entry, {**values, "status": _READY, "exported_at": datetime.now(UTC)})
    return snapshot


def _checked(
    place: Location, read: Callable[[], Iterator[pa.RecordBatch]], interval: str
) -> Snapshot:
    """Return a written snapshot that equals what the store has; remove one that does not."""
    try:
        snapshot = open_snapshot(place.text)
        expected, actual = _summary(read(), interval), _summary(snapshot.read(), interval)
        if expected != actual or actual != (snapshot.rows, snapshot.digest):
            raise StoreConflict(
                f"snapshot {place.text} holds {actual[0]} rows with digest {actual[1][:12]}, the "
                f"store {expected[0]} with {expected[1][:12]}; export again when nothing is written"
            )
    except BaseException:
        place.remove()
        raise
    return snapshot


def _forget_dead(store: BarStore, name: str) -> None:
    """Remove the entries of exports whose processes are gone, and the folders that they left."""
    query = {"name": name, "status": {"$in": [_WRITING, _WRITTEN]}}
    for entry in store.attempt(lambda: list(_entries(store).find(query))):
        holder = Holder.of(entry.get("holder"))
        if holder is not None and holder.gone():
            place = Location.of(entry["path"])
            if entry["status"] == _WRITTEN:
                place.remove()
            else:
                remove_leftover(place)
            store.attempt(partial(_entries(store).delete_one, {"_id": entry["_id"]}))


def entries(store: BarStore, name: str | None = None) -> list[Entry]:
    """Return the catalogue's snapshots, by name and version."""
    query: dict[str, Any] = {"status": _READY}
    if name is not None:
        query["name"] = str(name)
    order = [("name", 1), ("version", 1)]
    return [_entry(d) for d in store.attempt(lambda: list(_entries(store).find(query).sort(order)))]


def find(store: BarStore, name: str, version: int | None = None) -> Entry:
    """Return a version of a name, the newest by default; raises SourceNotFound."""
    versions = entries(store, name)
    match = [entry for entry in versions if version in (None, entry.version)]
    if match:
        return match[-1]
    if versions:
        raise SourceNotFound(
            f"snapshot {name!r} has no version {version}; it has {[e.version for e in versions]}"
        )
    known = sorted({entry.name for entry in entries(store)})
    hint = did_you_mean(name, known)
    raise SourceNotFound(f"the catalogue has no snapshot {name!r}{hint}; it has {known or 'none'}")


def _entries(store: BarStore) -> Any:
    return store.collection("snapshots")


def _entry(document: dict[str, Any]) -> Entry:
    values = {name: document[name] for name in Snapshot.__dataclass_fields__ if name != "version"}
    values |= {"version": document["snapshot_version"], "symbols": tuple(document["symbols"])}
    return Entry(document["name"], document["version"], Snapshot(**values))


def _set(store: BarStore, entry: dict[str, Any], values: dict[str, Any]) -> None:
    store.attempt(lambda: _entries(store).update_one(entry, {"$set": values}))


def _reserve(store: BarStore, root: Location, name: str, holder: Holder) -> tuple[int, Location]:
    """Take the next version of a name: the unique index lets one of several exporters have it."""
    from pymongo.errors import DuplicateKeyError

    for _ in range(100):
        newest = store.attempt(
            lambda: _entries(store).find_one({"name": name}, sort=[("version", -1)])
        )
        on_disk = [int(n) for n in (root / name).names() if n.isdecimal()]
        version = max([newest["version"] if newest else 0, *on_disk]) + 1
        place = root / name / str(version)
        entry = {"name": name, "version": version, "status": _WRITING, "path": place.text}
        entry["holder"] = asdict(holder)
        try:
            store.attempt(partial(_insert, store, entry))
        except DuplicateKeyError:
            continue
        return version, place
    raise StoreConflict(f"no version of snapshot {name!r} could be taken: too many exports at once")


def _insert(store: BarStore, entry: dict[str, Any]) -> None:
    _entries(store).insert_one(entry)


def _summary(batches: Iterator[pa.RecordBatch], interval: str) -> tuple[int, str]:
    digest, rows = ContentDigest(interval), 0
    for batch in batches:
        code, symbols = encode(batch["symbol"])
        fields = {name: to_numpy(batch[name]) for name in FIELDS}
        digest.update(symbols, code, times(batch["ts"]), fields)
        rows += batch.num_rows
    return rows, digest.hexdigest()
