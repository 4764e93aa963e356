"""Raw rows from wherever users keep bars: files, frames, lists and Arrow tables."""

from __future__ import annotations

import codecs
import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.dataset as ds

from streambt_spark.core.market.bars import FIELDS, PADDED_OPTION, interval_us, symbol_names
from streambt_spark.errors import BadColumns, DataError, NoData, SourceNotFound
from streambt_spark.stores.cells import plain, without_views
from streambt_spark.stores.columns import match_columns
from streambt_spark.stores.frames import frame_to_table, records_to_table
from streambt_spark.stores.location import Location
from streambt_spark.stores.times import zone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

Source: TypeAlias = str | os.PathLike[str] | pd.DataFrame | pa.Table | list[Any]

_BLOCK_BYTES = 16 << 20
_BATCH_ROWS = 262_144
_LONGEST_ROW = 200
_LINE = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True, eq=False)
class RawBatch:
    """Rows as their source wrote them, under the names that bars have.

    `columns` holds symbol, time and the five numbers, of any type; `original` the rows as they
    came; `row` their numbers in the source, from 1. A `malformed` row could not be cut into
    columns: its number and text.
    """

    interval: str
    tz: str
    session: bool
    where: str
    columns: pa.Table
    original: pa.Table
    row: NDArray[np.int64]
    malformed: tuple[tuple[int, str], ...] = ()

    def where_rows(self, mask: NDArray[np.bool_]) -> RawBatch:
        """Return the rows that a mask selects; those that are malformed stay."""
        selection = pa.array(mask)
        return replace(
            self,
            columns=self.columns.filter(selection),
            original=self.original.filter(selection),
            row=self.row[mask],
        )


def read_source(
    source: Source,
    *,
    interval: str,
    columns: Mapping[str, str] | None = None,
    tz: str | None = None,
    symbol: str | None = None,
    symbols: Iterable[str] | None = None,
) -> Iterator[RawBatch]:
    """Yield the rows of a CSV(.gz) or Parquet file, a folder of Parquet, a snapshot, a pandas
    frame, a list of dicts or an Arrow table, a bounded number at a time.

    `columns` maps column → name in the source; `tz` is the zone of times that state none (the
    machine's own by default); `symbol` names the symbol of a source without such a column;
    `symbols` keeps only those. Raises SourceNotFound, BadColumns, NoData for an empty source,
    DataError where a file cannot be decoded, ConfigError for a bad option.
    """
    interval_us(interval)
    time_zone = zone(tz)
    names = None if symbols is None else list(symbol_names(symbols))
    if symbol is None and names is not None and len(names) == 1:
        symbol = names[0]
    where = _describe(source)
    start = 1
    mapping: dict[str, str] | None = None
    for table, bad in _tables(source, where):
        table = without_views(table)
        if mapping is None:
            mapping = match_columns(table.column_names, columns, symbol=symbol, where=where)
            _each_once([n for n in table.column_names if n in mapping.values()], where)
        lost = np.array([number for number, _ in bad], np.int64)
        row = _numbers(start, table.num_rows, lost)
        start += table.num_rows + len(lost)
        canonical = _canonical(table, mapping, symbol, where)
        session = "session" in mapping
        batch = RawBatch(interval, time_zone, session, where, canonical, table, row, tuple(bad))
        if names is not None:
            batch = batch.where_rows(_of_symbols(canonical["symbol"], names))
        yield batch
    if mapping is None:
        raise NoData(f"{where} is empty; expected a header and at least one bar")


def _describe(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return {list: "the list", pd.DataFrame: "the frame", pa.Table: "the table"}.get(
        type(source), "the source"
    )


def _numbers(start: int, rows: int, lost: NDArray[np.int64]) -> NDArray[np.int64]:
    numbers = np.arange(start, start + rows + len(lost))
    return numbers[~np.isin(numbers, lost)] if len(lost) else numbers


def _canonical(
    table: pa.Table, mapping: Mapping[str, str], symbol: str | None, where: str
) -> pa.Table:
    columns = {column: plain(table[name], name, where) for column, name in mapping.items()}
    if "date" in mapping:
        texts = [columns[name].cast(pa.string()) for name in ("date", "time")]
        time = pc.binary_join_element_wise(*texts, " ")
    else:
        time = columns.get("session", columns.get("ts"))
    symbols = columns.get("symbol", pa.array([symbol] * table.num_rows, pa.string()))
    if not pa.types.is_string(symbols.type):
        symbols = symbols.cast(pa.string())
    return pa.table({"symbol": symbols, "time": time, **{name: columns[name] for name in FIELDS}})


def _of_symbols(column: pa.ChunkedArray, symbols: list[str]) -> NDArray[np.bool_]:
    """Return which rows to keep: the wanted symbols, and those whose symbol cannot be told."""
    texts = pc.ascii_upper(pc.utf8_trim_whitespace(column))
    texts = pc.replace_substring_regex(texts, PADDED_OPTION, r"\1\2")
    legible = pc.match_substring_regex(texts, r"^[@A-Z0-9]").fill_null(False)
    keep = pc.or_(pc.is_in(texts, pa.array(symbols, pa.string())), pc.invert(legible))
    return np.asarray(keep.to_numpy(), bool)


_Bad = list[tuple[int, str]]


def _tables(source: Source, where: str) -> Iterator[tuple[pa.Table, _Bad]]:
    if isinstance(source, pd.DataFrame):
        _each_once([*source.columns, *(n for n in source.index.names if n is not None)], where)
        return _sliced(frame_to_table(source))
    if isinstance(source, pa.Table):
        return _sliced(source)
    if isinstance(source, list):
        return _records(source)
    if isinstance(source, str | os.PathLike):
        return _file(Location.of(source), where)
    raise BadColumns(
        f"bars of type {type(source).__name__} are not understood; give a path, a pandas "
        "DataFrame, a list of dicts or a pyarrow Table"
    )


def _each_once(names: list[Any], where: str) -> None:
    if repeated := [str(name) for name, times in Counter(names).items() if times > 1]:
        raise BadColumns(
            f"{where} repeats the column {', '.join(repeated)}; expected each column once: rename "
            "or remove the others"
        )


def _sliced(table: pa.Table) -> Iterator[tuple[pa.Table, _Bad]]:
    for start in range(0, max(table.num_rows, 1), _BATCH_ROWS):
        yield table.slice(start, _BATCH_ROWS), []


def _records(records: list[Any]) -> Iterator[tuple[pa.Table, _Bad]]:
    if records:
        yield from _sliced(records_to_table(records))


def _file(place: Location, where: str) -> Iterator[tuple[pa.Table, _Bad]]:
    if not place.exists():
        raise SourceNotFound(f"no such file or folder: {where}; check the path")
    name = place.text.lower()
    try:
        if name.endswith((".csv", ".csv.gz", ".txt", ".txt.gz", ".tsv", ".tsv.gz")):
            yield from _csv(place, where)
        else:
            yield from _parquet(place, where)
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, EOFError) as error:
        cause = " ".join(str(error).split())[:200]
        raise DataError(f"{where} cannot be read: {cause}; expected CSV(.gz) or Parquet") from error


def _csv(place: Location, where: str) -> Iterator[tuple[pa.Table, _Bad]]:
    compression = "gzip" if place.text.lower().endswith(".gz") else None
    names, delimiter = _header(place, compression)
    if not names:
        raise NoData(f"{where} is empty; expected a header and at least one bar")
    bad: _Bad = []
    swallowed = 0

    def note(row: Any) -> str:
        nonlocal swallowed
        first = row.number - 1 + swallowed  # the header is line 1
        lines = _LINE.split(row.text.rstrip("\r\n"))  # several where a quote was never closed
        swallowed += len(lines) - 1
        bad.extend((first + n, line[:_LONGEST_ROW]) for n, line in enumerate(lines))
        return "skip"

    with place.filesystem.open_input_stream(place.key, compression=compression) as file:
        stream = pa.TransformInputStream(file, _clean())
        reader = pc_csv.open_csv(
            stream,
            pc_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            pc_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=note),
            pc_csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=False
            ),
        )
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                break
            rows, bad[:] = list(bad), []
            yield pa.table(batch), rows
        if bad:
            yield pa.table({name: pa.array([], pa.string()) for name in names}), bad


def _header(place: Location, compression: str | None) -> tuple[list[str], str]:
    with place.filesystem.open_input_stream(place.key, compression=compression) as stream:
        head = stream.read(1 << 16).decode("utf-8-sig", "replace")
    line = next(iter(head.splitlines()), "")
    delimiter = max(",;\t|", key=line.count)
    return [n.strip().strip('"') for n in line.split(delimiter)] if line.strip() else [], delimiter


def _clean() -> Callable[[Any], bytes]:
    """Return a filter that puts a mark for bytes that are no UTF-8, so only their row suffers."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    return lambda data: decoder.decode(bytes(data)).encode()


def _parquet(place: Location, where: str) -> Iterator[tuple[pa.Table, _Bad]]:
    from streambt_spark.stores import commit, lake

    if commit.committed(place):
        batches = lake.open_snapshot(place.text).read()
    else:
        data = ds.dataset(place.key, format="parquet", filesystem=place.filesystem)
        if not data.files:
            raise NoData(f"folder {where} holds no Parquet file")
        batches = data.to_batches(batch_size=_BATCH_ROWS)
    while group := list(islice(batches, 4)):
        yield pa.Table.from_batches(group), []
