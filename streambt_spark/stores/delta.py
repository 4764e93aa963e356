"""A Delta table's log and files, opened without Spark; what is damaged is named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.table import SUPPORTED_READER_FEATURES
from pyarrow import fs

from streambt_spark.errors import StoreError
from streambt_spark.stores.checksums import discard, intact
from streambt_spark.stores.location import Location

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.dataset as ds

LOG = "_delta_log"
_ENTRY = re.compile(r"\d{20}\.json")
_SUMS = re.compile(r"\.?(\d{20})\.(?:json\.|crc\.)?crc")
_UNREACHED = re.compile(r"Generic S3 error|error sending request|HTTP error|timed out")
_COLOURED = re.compile(r"(?:\x1b\[[\d;]*m|↳)+")
_MAPPING = "columnMapping"
_ADVICE = "put it back from a copy, or delete the table and run again"


def open_table(address: str) -> DeltaTable | None:
    """Return the table; None where there is none.

    Raises StoreError where its log is damaged, StoreUnavailable where S3 does not answer.
    """
    place = Location.of(address)
    try:
        if (entry := _undurable(place)) is not None:
            raise _damaged(entry, "it is empty")
        return DeltaTable(place.delta_address, storage_options=place.delta_options)
    except TableNotFoundError:
        return None
    except (DeltaError, ValueError) as error:
        raise _damaged_log(place, error) from error
    except OSError:
        with place.guard("read"):
            raise
        raise


def read_table(
    table: DeltaTable,
    address: str,
    columns: Sequence[str] | None = None,
    rows: ds.Expression | None = None,
) -> pa.Table:
    """Return the rows that the filter lets pass.

    Raises StoreError where a file is damaged, or the table has a feature that is not read here.
    """
    from pyarrow.dataset import ParquetFragmentScanOptions  # loads pandas, which takes a while

    place = Location.of(address)
    if features := _unread(table):
        raise StoreError(
            f"{place.text} is a Delta table with {', '.join(features)}, which is not read here; "
            "run again into another folder",
            address=place.text,
        )
    # Spark writes a checksum into each page; what delta-rs writes has none, and is read as it is.
    checked = ParquetFragmentScanOptions(page_checksum_verification=True)
    # delta-rs' own file system is a Python object: Arrow's threads may still let go of its files
    # when the interpreter ends, and that aborts the process.
    files = fs.SubTreeFileSystem(place.key, place.filesystem)
    try:
        return table.to_pyarrow_dataset(filesystem=files).to_table(
            columns=None if columns is None else list(columns),
            filter=rows,
            fragment_scan_options=checked,
        )
    except FileNotFoundError as error:
        raise _damaged(place, f"a file is missing: {_brief(error)}") from error
    except (pa.ArrowException, DeltaError) as error:
        raise _damaged(place, _brief(error)) from error
    except OSError as error:
        if place.remote or isinstance(error, PermissionError):
            with place.guard("read"):
                raise
        raise _damaged(place, _brief(error)) from error


def _unread(table: DeltaTable) -> list[str]:
    """Return the features without which the table's files are not what they tell.

    Of columns that are mapped by the older protocol delta-rs says nothing, and reads nulls.
    """
    mapped = table.metadata().configuration.get(f"delta.{_MAPPING}.mode", "none") != "none"
    features = {*(table.protocol().reader_features or ()), *([_MAPPING] if mapped else ())}
    return sorted(features - SUPPORTED_READER_FEATURES)


def check_files(table: DeltaTable, address: str) -> None:
    """Raise StoreError where a local table misses a file, or one is not as it was written."""
    place = Location.of(address)
    if place.remote:
        return
    for path in entries(Path(place.text)):
        if not intact(path):
            raise _damaged(path, "it is not as it was written")
    actions = pa.table(table.get_add_actions(flatten=True))
    for name, size in zip(*(actions[n].to_pylist() for n in ("path", "size_bytes")), strict=True):
        path = Path(place.text, name)
        if not path.is_file():
            raise _damaged(path, "it is missing")
        if path.stat().st_size != size or not intact(path):
            raise _damaged(path, "it is not as it was written")


def drop_undurable(address: str) -> bool:
    """Delete what a power cut left of the newest entry of a local log; return whether it left any.

    That is an empty file, or the sums of Delta and Hadoop over an entry that is not there.
    """
    place = Location.of(address)
    if place.remote:
        return False
    if (entry := _undurable(place)) is not None:
        _drop(entry)
        return True
    found = entries(Path(place.text))
    last = int(found[-1].stem) if found else -1
    lost = [p for p in Path(place.text, LOG).glob("*") if _number(p.name) > last]
    for path in lost:
        path.unlink()
    return bool(lost)


def drop_batch(address: str, query: str, batch: int) -> bool:
    """Delete the newest entry of a local log if it is what a query's batch wrote, and no more.

    Returns whether it was. The batch then runs again, and writes the same. The table's first entry
    is the table as well, which is made again with it.
    """
    place = Location.of(address)
    found = [] if place.remote else entries(Path(place.text))
    if not found:
        return False
    newest = found[-1]
    actions = [json.loads(line) for line in newest.read_text("utf-8").splitlines() if line]
    wrote = [(a["txn"]["appId"], a["txn"]["version"]) for a in actions if "txn" in a]
    made = set() if int(newest.stem) else {"protocol", "metaData"}
    appended = {"commitInfo", "txn", "add"} | made
    appends = all(appended >= action.keys() for action in actions)
    if wrote != [(query, batch)] or not appends or _is_summed_up(newest):
        return False
    _drop(newest)
    return True


def entries(folder: Path) -> list[Path]:
    """Return the entries of a local table's log, ascending."""
    return sorted(p for p in (folder / LOG).glob("*.json") if _ENTRY.fullmatch(p.name))


def _number(name: str) -> int:
    """Return the version that sums are of; -1 for another file."""
    found = _SUMS.fullmatch(name)
    return int(found[1]) if found else -1


def _undurable(place: Location) -> Path | None:
    found = [] if place.remote else entries(Path(place.text))
    return found[-1] if found and not found[-1].stat().st_size else None


def _is_summed_up(entry: Path) -> bool:
    return any(entry.parent.glob(f"{entry.stem}.checkpoint*"))


def _drop(entry: Path) -> None:
    discard(entry)
    discard(entry.with_suffix(".crc"))  # Delta's own sums over the version


def _damaged_log(place: Location, error: Exception) -> StoreError:
    if not place.remote:
        for path, reason in _damaged_entries(Path(place.text)):
            return _damaged(path, reason)
    elif _UNREACHED.search(str(error)):
        with place.guard("read"):
            raise OSError(_brief(error))
    return _damaged(place / LOG, _brief(error))


def _damaged_entries(folder: Path) -> Iterator[tuple[Path, str]]:
    expected = None
    for path in entries(folder):
        number = int(path.stem)
        if expected is not None and number != expected:
            yield path.with_name(f"{expected:020d}.json"), "it is missing"
        expected = number + 1
        try:
            for line in path.read_text("utf-8").splitlines():
                json.loads(line)
        except ValueError as error:
            yield path, _brief(error)
        if not intact(path):
            yield path, "it is not as it was written"


def _damaged(place: Location | Path, reason: str) -> StoreError:
    text = place.text if isinstance(place, Location) else str(place)
    return StoreError(f"{text} is damaged: {reason}; {_ADVICE}", address=text)


def _brief(error: Exception) -> str:
    """Return what an error says, without the colours and the frames that delta-rs adds."""
    text = " ".join(_COLOURED.sub(" ", str(error)).split())
    return re.split(r" \d+: (?:<unknown>|[\w:<>]+ at )", text)[0][:200]
