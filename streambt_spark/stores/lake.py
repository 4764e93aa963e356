"""Versioned, immutable snapshots of bars as Delta or Parquet, on a folder or S3."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streambt_spark.core.market.bars import (
    FIELDS,
    Bars,
    ContentDigest,
    compact,
    concat,
    interval_us,
)
from streambt_spark.errors import (
    BadColumns,
    ConfigError,
    DataError,
    NoData,
    OutputError,
    SourceNotFound,
    StreambtError,
)
from streambt_spark.stores import commit
from streambt_spark.stores.blocks import BlockSource, not_as_exported
from streambt_spark.stores.claim import claimed, claims
from streambt_spark.stores.files import BLOCKS, GROUP_ROWS, DataFile, FileWriter, choose_grain
from streambt_spark.stores.location import Location
from streambt_spark.stores.tables import (
    BAR_SCHEMA,
    SCHEMA_DIGEST,
    bars_to_batches,
    bars_to_table,
    encode,
    rebatch,
    table_to_bars,
    times,
    to_numpy,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

__all__ = [
    "BAR_SCHEMA",
    "Snapshot",
    "bars_to_batches",
    "bars_to_table",
    "open_snapshot",
    "table_to_bars",
    "write_snapshot",
]

Format = Literal["delta", "parquet"]
FORMATS = ("delta", "parquet")
_SAMPLE_ROWS = 262_144
_PIECE_BYTES = 1 << 20
_FIRST_OF = 40
"""Rows read for each that `Snapshot.first` is asked for, where symbols are many."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Bars that never change: where they are, and what they hold.

    `min_ts` and `max_ts` are UTC microseconds; `digest` equals `Bars.digest()` of the same bars.
    It holds plain values only, so it can be sent to other processes.
    """

    path: str
    format: str
    version: int
    rows: int
    symbols: tuple[str, ...]
    interval: str
    min_ts: int
    max_ts: int
    schema_digest: str
    digest: str

    def slices(self) -> NDArray[np.int64]:
        """Return the distinct times of the bars, ascending (UTC µs), reading a file at a time."""
        parts = []
        for batch in self.read(columns=["ts"]):
            ts = times(batch["ts"])
            parts.append(np.unique(ts[np.concatenate(([True], ts[1:] != ts[:-1]))]))
        return np.unique(np.concatenate(parts))

    def read(
        self,
        start_ts: int | None = None,
        end_ts: int | None = None,
        symbols: Collection[str] | None = None,
        columns: Sequence[str] | None = None,
        *,
        dictionary: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the bars with start_ts ≤ ts < end_ts (UTC µs), in the order they are stored.

        Files and row groups outside the range are not read. `columns` are names of BAR_SCHEMA;
        `dictionary` leaves symbol and interval as dictionary columns, which is faster.
        Raises BadColumns for an unknown column, DataError where a file is not as it was written
        (no row of it is given before its bytes were verified), StoreError where it cannot be read.
        """
        names = list(BAR_SCHEMA.names if columns is None else columns)
        if unknown := set(names) - set(BAR_SCHEMA.names):
            raise BadColumns(f"snapshot has no column {sorted(unknown)}; it has {BAR_SCHEMA.names}")
        low = self.min_ts if start_ts is None else start_ts
        high = self.max_ts + 1 if end_ts is None else end_ts
        selection = None if symbols is None else sorted(set(symbols))
        needed = [
            n for n in BAR_SCHEMA.names if n in names or n == "ts" or (selection and n == "symbol")
        ]
        root = Location.of(self.path)
        for file in _files(self.path, self.format, self.digest):
            if file.min_ts < high and file.max_ts >= low:
                for batch in _read_file(root, file, low, high, selection, needed):
                    yield _shape(batch, names, dictionary)

    def verify(self) -> None:
        """Read all files and raise DataError for the first that is not as it was written.

        A reader verifies what it reads; this is for who must know before anything is written. On
        S3 only sizes and footers are read, the rest would be the whole snapshot once more.
        """
        root = Location.of(self.path)
        for file in _files(self.path, self.format, self.digest):
            footer = _read_footer(root, file)
            if not root.remote:
                _read_body(root, file, footer)

    def table(self) -> pa.Table:
        """Return all bars as a table of BAR_SCHEMA."""
        return pa.Table.from_batches(self.read(), BAR_SCHEMA)

    def bars(
        self,
        start_ts: int | None = None,
        end_ts: int | None = None,
        symbols: Collection[str] | None = None,
    ) -> Bars:
        """Return bars in memory, ordered by (ts, symbol); raises NoData where there are none."""
        columns = ["symbol", "ts", *FIELDS]
        batches = list(self.read(start_ts, end_ts, symbols, columns, dictionary=True))
        if not batches:
            raise NoData(f"snapshot {self.path} has no bars of that time and those symbols")
        return table_to_bars(pa.Table.from_batches(batches), self.interval)

    def first(self, rows: int) -> Bars:
        """Return the first bars, about so many, of some of the symbols, evenly chosen.

        Fewer symbols give longer histories; no more is read than 40 times the rows.
        """
        count = min(len(self.symbols), max(1, rows * len(self.symbols) // self.rows))
        chosen = {self.symbols[i] for i in np.linspace(0, len(self.symbols) - 1, count).astype(int)}
        share = min(-(-len(self.symbols) // count), _FIRST_OF)
        parts, left, unread = [], rows, rows * share
        columns = ["symbol", "ts", *FIELDS]
        for batch in self.read(columns=columns, dictionary=True):
            bars = table_to_bars(pa.Table.from_batches([batch]), self.interval)
            mask = np.array([symbol in chosen for symbol in bars.symbols], np.bool_)
            parts.append(compact(bars.take(np.flatnonzero(mask[bars.code])[:left])))
            left, unread = left - len(parts[-1]), unread - len(bars)
            if left <= 0 or unread <= 0:
                break
        return concat(parts)


def write_snapshot(
    batches: Iterable[pa.RecordBatch | pa.Table],
    path: str | os.PathLike[str],
    *,
    interval: str,
    format: Format = "delta",  # noqa: A002 - the word Spark and pandas users know
) -> Snapshot:
    """Write bars of BAR_SCHEMA, strictly ascending by (ts, symbol), as a new snapshot.

    Memory stays bounded; nothing is visible before the commit at the end. A writer that fails
    leaves nothing behind, and what a killed one left is cleaned up. Raises NoData for no rows
    (nothing is written), DataError for rows out of order, OutputError where another is writing
    (see `claim`), the folder holds something else or cannot be written, StoreError where S3 fails.
    """
    if format not in FORMATS:
        raise ConfigError(f"snapshot format {format!r} is not known; use {' or '.join(FORMATS)}")
    interval_us(interval)
    root = Location.of(path)
    checker = _Checker(interval)
    checked = ((batch, checker.add(batch)) for batch in rebatch(batches))
    sample, rows = [], 0
    for item in checked:
        sample.append(item)
        rows += len(item[1])
        if rows >= _SAMPLE_ROWS:
            break
    if not rows:
        raise NoData(f"no bars to write to {root.text}; nothing was written")
    grain = choose_grain(rows, checker.min_ts, checker.max_ts) if rows >= _SAMPLE_ROWS else "all"
    with _alone(root):
        writer = FileWriter(root, grain)
        with root.guard("write"):
            for batch, ts in sample:
                writer.write(batch, ts)
            sample.clear()
            for batch, ts in checked:
                writer.write(batch, ts)
            writer.close()
        commit.commit(root, format, writer.files, checker.meta())
    return open_snapshot(root.text)


def open_snapshot(path: str | os.PathLike[str], version: int | None = None) -> Snapshot:
    """Return the snapshot at a folder or S3 address.

    There is version 0 only, for a snapshot never changes. Raises SourceNotFound where there is none
    or for another version, DataError where its commit was changed.
    """
    root = Location.of(path)
    form = commit.committed(root)
    if form is None:
        raise SourceNotFound(
            f"no snapshot at {root.text}; write one with streambt export, or check the path"
        )
    if version:
        raise SourceNotFound(
            f"snapshot {root.text} has no version {version}: it never changes, and has version 0 "
            "only; export the bars again for a newer one"
        )
    meta, _ = commit.load(root, form)
    values = {**meta, "symbols": tuple(meta["symbols"])}
    return Snapshot(path=root.text, format=form, version=0, **values)


def remove_leftover(root: Location) -> None:
    """Remove what a killed writer left at an address, unless another writes or wrote there."""
    if claims(root.names(), commit.WRITING):
        with suppress(OutputError), _alone(root):
            pass
        root.remove_empty()


# What is kept is kept by the digest: other bars may come to the same path later.


@lru_cache(maxsize=64)
def _files(path: str, form: str, digest: str) -> tuple[DataFile, ...]:
    meta, files = commit.load(Location.of(path), form)
    if meta["digest"] != digest:
        raise DataError(f"snapshot {path} was replaced by other bars; open it again")
    return files


@contextmanager
def _alone(root: Location) -> Iterator[None]:
    """Let this writer alone write a new snapshot; what fails is removed."""
    _files.cache_clear()
    _footer.cache_clear()
    _require_free(root)
    try:
        with claimed(root, commit.WRITING) as own:
            try:
                _require_free(root)  # another may have finished since
                _clean(root, own)
                yield
            except BaseException:
                with suppress(StreambtError):  # the failure itself is to be told
                    _clean(root, own)
                raise
    except BaseException:
        root.remove_empty()
        raise


def _require_free(root: Location) -> None:
    if form := commit.committed(root):
        raise OutputError(f"{root.text} already holds a {form} snapshot; choose another path")
    names = root.names()
    if names and not claims(names, commit.WRITING):
        raise OutputError(f"{root.text} is not empty ({names[0]}, …); choose another path")


def _clean(root: Location, own: str) -> None:
    """Remove what was written without a commit."""
    if not commit.committed(root):
        for name in root.names():
            if name != own:
                (root / name).remove()


class _Checker:
    """Sees every row once: order, range, symbols and content digest."""

    def __init__(self, interval: str) -> None:
        self.interval = interval
        self.rows = 0
        self.min_ts = self.max_ts = 0
        self._symbols: set[str] = set()
        self._last = ""
        self._digest = ContentDigest(interval)

    def add(self, batch: pa.RecordBatch) -> NDArray[np.int64]:
        """Take the next batch and return its times; raises DataError where order is broken."""
        if not batch.schema.equals(BAR_SCHEMA):
            raise BadColumns(f"bars to write have {batch.schema.names}, not {BAR_SCHEMA.names}")
        code, symbols = encode(batch["symbol"])
        ts = times(batch["ts"])
        same = ts[1:] == ts[:-1]
        ascending = bool(np.all((ts[1:] > ts[:-1]) | (same & (code[1:] > code[:-1]))))
        if self.rows and (ts[0], symbols[code[0]]) <= (self.max_ts, self._last):
            ascending = False
        if not ascending:
            raise DataError(
                f"bars to write are not strictly ascending by (ts, symbol) after row {self.rows}"
            )
        self._digest.update(symbols, code, ts, {name: to_numpy(batch[name]) for name in FIELDS})
        self.min_ts = self.min_ts if self.rows else int(ts[0])
        self.max_ts, self._last = int(ts[-1]), symbols[code[-1]]
        self.rows += len(ts)
        self._symbols.update(symbols)
        return ts

    def meta(self) -> dict[str, Any]:
        """Return what the commit records."""
        return {
            "rows": self.rows,
            "symbols": sorted(self._symbols),
            "interval": self.interval,
            "min_ts": self.min_ts,
            "max_ts": self.max_ts,
            "schema_digest": SCHEMA_DIGEST,
            "digest": self._digest.hexdigest(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Footer:
    """What a file tells of itself: each row group's times and bytes, and the digests of blocks."""

    metadata: pq.FileMetaData
    blocks: bytes
    times: tuple[tuple[int, int], ...]


@lru_cache(maxsize=256)
def _footer(root: Location, file: DataFile) -> Footer:
    return _read_footer(root, file)


def _read_footer(root: Location, file: DataFile) -> Footer:
    """Return a file's footer, verified by the commit's digest of it."""
    name = f"{root.text}/{file.path}"
    with _open_file(root, file) as source:
        content = source.read_at(file.size - file.footer, file.footer)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise not_as_exported(name, "its footer differs")
    metadata = pq.read_metadata(pa.BufferReader(content))
    at = metadata.schema.names.index("ts")
    ranges = []
    for group in range(metadata.num_row_groups):
        stats = metadata.row_group(group).column(at).statistics
        ranges.append((stats.min_raw, stats.max_raw))  # as the file has them: microseconds
    return Footer(metadata, metadata.metadata[BLOCKS.encode()], tuple(ranges))


@contextmanager
def _open_file(root: Location, file: DataFile) -> Iterator[pa.NativeFile]:
    """Yield a data file; raises DataError where it is gone or has another size."""
    place = root / file.path
    with place.guard("read"):
        try:
            source = place.filesystem.open_input_file(place.key)
        except FileNotFoundError:
            raise not_as_exported(place.text, "it is gone") from None
        with source:
            if (size := source.size()) != file.size:
                fault = f"it has {size:,} bytes, {file.size:,} were written"
                raise not_as_exported(place.text, fault)
            yield source


def _read_file(
    root: Location,
    file: DataFile,
    low: int,
    high: int,
    symbols: Sequence[str] | None,
    columns: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    footer = _footer(root, file)
    chosen = [i for i, (first, last) in enumerate(footer.times) if first < high and last >= low]
    if not chosen:
        return
    inside = all(low <= footer.times[i][0] and footer.times[i][1] < high for i in chosen)
    extents = [_extent(footer.metadata.row_group(i), columns) for i in chosen]
    name = f"{root.text}/{file.path}"
    with (
        _open_file(root, file) as source,
        BlockSource(source, name, footer.blocks, file.footer, extents) as verified,
    ):
        reader = pq.ParquetFile(
            pa.PythonFile(verified, "r"),
            metadata=footer.metadata,
            read_dictionary=["symbol", "interval"],
        )
        for group in chosen:  # one after the other, as they are fetched
            for batch in reader.iter_batches(GROUP_ROWS, [group], list(columns)):
                rows = batch if inside else _within(batch, low, high)
                if symbols is not None:
                    rows = rows.filter(pc.is_in(rows["symbol"], pa.array(symbols, pa.string())))
                if rows.num_rows:
                    yield rows


def _read_body(root: Location, file: DataFile, footer: Footer) -> None:
    pairs = list(pairwise([*range(0, file.footer, _PIECE_BYTES), file.footer]))
    with (
        _open_file(root, file) as source,
        BlockSource(source, f"{root.text}/{file.path}", footer.blocks, file.footer, pairs) as body,
    ):
        for start, end in pairs:
            body.read(end - start)


def _extent(group: pq.RowGroupMetaData, columns: Collection[str]) -> tuple[int, int]:
    """Return the first and the last + 1 byte of a row group's columns."""
    bounds = []
    for at in range(group.num_columns):
        chunk = group.column(at)
        if chunk.path_in_schema in columns:
            first = chunk.dictionary_page_offset or chunk.data_page_offset
            bounds.append((first, first + chunk.total_compressed_size))
    return min(start for start, _ in bounds), max(end for _, end in bounds)


def _within(batch: pa.RecordBatch, low: int, high: int) -> pa.RecordBatch:
    first, last = np.searchsorted(times(batch["ts"]), [low, high])  # rows ascend, as written
    return batch.slice(int(first), int(last - first))


def _shape(batch: pa.RecordBatch, names: Sequence[str], dictionary: bool) -> pa.RecordBatch:
    fields = [BAR_SCHEMA.field(name) for name in names]
    columns = [batch[name] for name in names]
    if dictionary:
        fields = [f.with_type(c.type) for f, c in zip(fields, columns, strict=True)]
    else:
        pairs = zip(fields, columns, strict=True)
        columns = [c if c.type == f.type else c.cast(f.type) for f, c in pairs]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
