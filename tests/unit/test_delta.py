"""A damaged Delta table is refused by the file's name, and never read as if it were whole."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, Transaction, write_deltalake

from streambt_spark.errors import StoreError
from streambt_spark.stores.checksums import intact, sidecar
from streambt_spark.stores.delta import (
    check_files,
    drop_batch,
    drop_undurable,
    entries,
    open_table,
    read_table,
)

ROWS = pa.table({"kind": ["order", "fill", "end"], "seq": [0, 1, 2]})


def sums(path: Path, size: int = 512) -> None:
    """Write a file's checksums beside it, as Hadoop does."""
    content = path.read_bytes()
    each = [zlib.crc32(content[i : i + size]) for i in range(0, len(content), size)]
    sidecar(path).write_bytes(b"crc\0" + struct.pack(f">i{len(each)}I", size, *each))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of three batches of one query, with checksums beside every file."""
    for batch in range(3):
        wrote = CommitProperties(app_transactions=[Transaction("query", batch)])
        write_deltalake(tmp_path, ROWS, mode="append", commit_properties=wrote)
    for path in [*tmp_path.glob("*.parquet"), *entries(tmp_path)]:
        sums(path)
    return tmp_path


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    """Cut off the second half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def read(folder: Path) -> pa.Table:
    """Open a table, check its files and read it."""
    opened = open_table(str(folder))
    assert opened is not None
    check_files(opened, str(folder))
    return read_table(opened, str(folder))


def test_a_whole_table_is_read(table: Path, tmp_path: Path) -> None:
    """Nothing is said of what is as it was written; no table is no table."""
    assert read(table).num_rows == 9
    assert open_table(str(tmp_path / "none")) is None


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["flipped", "cut", "gone"])
def test_a_damaged_entry_is_named(table: Path, damage: Callable[[Path], None], number: int) -> None:
    """The log's file is named, in one line; the newest may be gone without a trace."""
    entry = entries(table)[number]
    damage(entry)
    if number == 2 and damage is Path.unlink:
        assert read(table).num_rows == 6
        return
    if number == 0 and damage is Path.unlink:
        entry = table
    with pytest.raises(StoreError) as caught:
        read(table)
    assert str(entry) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "<unknown>" not in str(caught.value)
    assert caught.value.exit_code == 74


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["flipped", "cut", "gone"])
def test_a_damaged_file_is_named(table: Path, damage: Callable[[Path], None]) -> None:
    """Also a byte that Parquet itself would not notice."""
    path = sorted(table.glob("*.parquet"))[1]
    damage(path)
    with pytest.raises(StoreError) as caught:
        read(table)
    assert str(path) in str(caught.value)


def test_a_page_s_checksum_is_checked(tmp_path: Path) -> None:
    """A changed value in a page with a checksum is no value, whatever stands beside the file."""
    write_deltalake(tmp_path, ROWS)
    (path,) = tmp_path.glob("*.parquet")
    pq.write_table(ROWS, path, write_page_checksum=True, compression="none", use_dictionary=False)
    content = path.read_bytes()
    assert content.count(b"fill") == 1  # neither least nor greatest: in no statistics
    path.write_bytes(content.replace(b"fill", b"f1ll"))
    opened = open_table(str(tmp_path))
    assert opened is not None
    with pytest.raises(StoreError, match="is damaged"):
        read_table(opened, str(tmp_path))


DELETION_VECTORS = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
MAPPED = {
    "delta.columnMapping.id": 1,
    "delta.columnMapping.physicalName": "col-1",
}


@pytest.mark.parametrize(
    ("protocol", "configuration", "feature"),
    [
        ({"minReaderVersion": 3, "minWriterVersion": 7} | DELETION_VECTORS, {}, "deletionVectors"),
        (
            {"minReaderVersion": 2, "minWriterVersion": 5},
            {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "1"},
            "columnMapping",
        ),
    ],
)
def test_a_feature_that_is_not_read_here_is_named(
    tmp_path: Path, protocol: dict[str, object], configuration: dict[str, str], feature: str
) -> None:
    """Rows that are deleted elsewhere, or columns of other names, are not what Arrow would read."""
    write_deltalake(tmp_path, ROWS.select(["seq"]))
    (entry,) = entries(tmp_path)
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            action["protocol"] = protocol
        if "metaData" in action:
            schema = json.loads(action["metaData"]["schemaString"])
            schema["fields"][0]["metadata"] = MAPPED if configuration else {}
            action["metaData"] |= {"configuration": configuration}
            action["metaData"]["schemaString"] = json.dumps(schema)
    entry.write_text("\n".join(map(json.dumps, actions)))
    opened = open_table(str(tmp_path))
    assert opened is not None
    with pytest.raises(StoreError) as caught:
        read_table(opened, str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path} is a Delta table with {feature}, which is not read here; run again into "
        "another folder"
    )


def test_what_a_power_cut_left_of_the_newest_entry_is_dropped(table: Path) -> None:
    """An empty newest entry, or Delta's sums alone, is no entry; it is told, then dropped."""
    newest = entries(table)[-1]
    newest.with_suffix(".crc").write_text("{}")
    newest.write_bytes(b"")
    with pytest.raises(StoreError, match=r"02\.json is damaged: it is empty"):
        open_table(str(table))
    assert drop_undurable(str(table))
    assert read(table).num_rows == 6
    newest.with_suffix(".crc").write_text("{}")
    assert drop_undurable(str(table))
    assert not newest.with_suffix(".crc").exists()
    assert not drop_undurable(str(table))
    older = entries(table)[0]
    older.write_bytes(b"")
    assert not drop_undurable(str(table))
    assert older.exists()


def test_only_a_batch_s_own_entry_is_undone(table: Path) -> None:
    """The newest, of that query and that batch, if all it did was to append."""
    assert not drop_batch(str(table), "query", 1)
    assert not drop_batch(str(table), "other", 2)
    assert drop_batch(str(table), "query", 2)
    assert read(table).num_rows == 6
    entry = entries(table)[-1]
    entry.write_text(entry.read_text() + "\n" + json.dumps({"remove": {"path": "x"}}))
    assert not drop_batch(str(table), "query", 1)
    entry.unlink()
    assert drop_batch(str(table), "query", 0)  # and with it what made the table
    assert open_table(str(table)) is None


def test_checksums_of_hadoop(tmp_path: Path) -> None:
    """A byte changed anywhere, or lost, is noticed; without checksums nothing is claimed."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 5)
    assert intact(path)
    sums(path)
    assert intact(path)
    for at in (0, 511, 512, 1279):
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(bytes(content))
        assert not intact(path)
        content[at] ^= 1
        path.write_bytes(bytes(content))
    path.write_bytes(path.read_bytes()[:-1])
    assert not intact(path)
    sidecar(path).write_bytes(b"")
    assert intact(path)
