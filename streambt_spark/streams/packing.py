"""Rows of the stream packed into few large ones, as the stateful operator takes them.

Spark hands applyInPandasWithState one state cell for every input row and turns each into a Python
object, which costs more than the rest of the operator. So the tasks that read the rows translate
and check them and pack thousands of them into one binary row; the operator gets a handful of rows.
Packs are compressed, for the JVM holds a batch several times on its way. The replay source packs
its rows itself; the rows of a source of Spark's own pass through `packed`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.core.market.bars import interval_us
from streambt_spark.core.market.faults import CODES, Reason
from streambt_spark.core.market.portions import Part
from streambt_spark.core.market.rows import (
    COLUMNS,
    HEADER,
    KINDS,
    MARKS,
    NULL,
    UNKNOWN,
    Column,
    Form,
    RowKind,
    Rows,
    kind_names,
    kinds_with,
    screen,
)
from streambt_spark.streams import schema

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_WRITE = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 3), use_threads=False)
_READ = pa.ipc.IpcReadOptions(use_threads=False)
_HEAD = b"streambt"
_NAME = "name"
ROWS_PER_PACK = 16_384
"""Rows of a pack: a megabyte at most before it is compressed, no large object for Spark's JVM."""


def packer(
    symbols: Sequence[str], interval: str, most: int = ROWS_PER_PACK
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function that makes of each batch of stream rows a batch of PACKS with one row.

    `symbols` give the codes; what is none of them, and what breaks a rule, is marked as faulty. A
    batch of more than `most` rows becomes several.
    """

    def packs(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start in range(0, batch.num_rows, most):
                yield _pack(rows_of(batch.slice(start, most), symbols, interval))

    return packs


def rows_of(batch: pa.RecordBatch, symbols: Sequence[str], interval: str) -> Rows:
    """Return stream rows (see `schema`; a column that is missing is null) as rows, checked.

    A row's fault is the first of these: what its reader says; something it needs is not there, or
    is of another type (missing_field); a word that its vocabulary has not; what `screen` finds; a
    bar or heartbeat later than the message that brought it, by more than one interval: nobody could
    have known it, and it is not believed (beyond_horizon). A mark of a symbol that is not traded
    here says nothing and is left out.
    """
    cells = {name: batch.column(at) for at, name in enumerate(batch.schema.names)}
    count, step = batch.num_rows, interval_us(interval)
    kind, names = _kinds(cells.get(schema.KIND), count)
    ts = _times(cells.get(schema.TS), count)
    payload, unknown_words = _payload(cells, kind)
    if names is not None:
        payload[_NAME] = names
    fault = _given_faults(cells.get(schema.FAULT), count)
    for reason, broken in (
        (Reason.MISSING_FIELD, _missing(cells, kind)),
        (Reason.UNKNOWN_WORD, unknown_words),
    ):
        if broken is not None:
            fault[broken & (fault == 0)] = CODES[reason]
    code = _codes(cells[schema.SYMBOL], symbols)
    seq = _whole(cells.get(schema.SEQ), count)
    known_at = _known_at(_times(cells.get(schema.KNOWN_AT), count), kind, ts, step)
    rows = screen(Rows(kind, code, ts, seq, known_at, fault, payload), interval)
    if schema.SENT in cells:
        rows = _believed(rows, _times(cells[schema.SENT], count), step)
    about_others = (code < 0) & np.isin(kind, _ABOUT_TIME)
    if about_others.any():
        rows = rows.where(~about_others | (rows.fault != 0) | _nulls(cells[schema.SYMBOL]))
    return rows


_ABOUT_TIME = (*MARKS, RowKind.FLUSH)
_REASONS = [str(reason) for reason in Reason]


def _kinds(
    column: pa.Array | None, count: int
) -> tuple[NDArray[np.int8], NDArray[np.object_] | None]:
    """Return the kinds of rows, and the names of those that are unknown, if any."""
    if column is None:
        return np.zeros(count, np.int8), None
    found = _filled(_index(column, schema.NAMES), -1, np.int8)
    if (found >= 0).all():
        return found, None
    found = np.where((found < 0) & _nulls(column), np.int8(RowKind.BAR), found)
    unknown = found == UNKNOWN
    return found, _where(unknown, _array(column)) if unknown.any() else None


def _payload(
    cells: dict[str, pa.Array], kind: NDArray[np.int8]
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_] | None]:
    """Return the payload columns that occur, and which rows have a word that is unknown."""
    payload, unknown = {}, None
    bars_alone = not kind.any()
    for name, column in COLUMNS.items():
        cell = cells.get(name)
        if cell is None or cell.null_count == len(cell):
            continue
        values = _values(column, cell)
        if column.form is Form.WORD:
            strange = (values < 0) & ~_nulls(cell) & np.isin(kind, kinds_with(name))
            unknown = strange if unknown is None else unknown | strange
        if not (bars_alone and name in KINDS[RowKind.BAR].columns):
            values = np.where(np.isin(kind, kinds_with(name)), values, column.nulls(1))
        payload[name] = values
    return payload, unknown


def _values(column: Column, cell: pa.Array) -> NDArray[Any]:
    if column.form is Form.NUMBER:
        return _filled(cell, np.nan, np.float64)
    if column.form is Form.TIME:
        return _times(cell, len(cell))
    if column.form is Form.WORD:
        return _filled(_index(cell, column.words), -1, np.int8)
    return _array(cell)


def _missing(cells: dict[str, pa.Array], kind: NDArray[np.int8]) -> NDArray[np.bool_] | None:
    """Return which rows lack something that their kind needs, None where none can."""
    missing = None
    for each in (np.flatnonzero(np.bincount(kind + 1)) - 1).tolist():
        for name in KINDS[each].needs:
            cell = cells.get(name)
            if cell is None or cell.null_count:
                lacking = (kind == each) & (True if cell is None else _nulls(cell))
                missing = lacking if missing is None else missing | lacking
    return missing


def _given_faults(column: pa.Array | None, count: int) -> NDArray[np.int8]:
    if column is None or column.null_count == len(column):
        return np.zeros(count, np.int8)
    malformed = CODES[Reason.MALFORMED] - 1
    codes = _filled(_index(column, _REASONS), malformed, np.int8) + np.int8(1)
    return np.where(_nulls(column), np.int8(0), codes)


def _known_at(
    given: NDArray[np.int64], kind: NDArray[np.int8], ts: NDArray[np.int64], step: int
) -> NDArray[np.int64]:
    """Return when rows may be used: a bar never before its end."""
    timed = (kind == RowKind.BAR) & (ts != NULL)
    return np.where(timed, np.maximum(given, ts + step), given)


def _believed(rows: Rows, sent: NDArray[np.int64], step: int) -> Rows:
    """Return the rows, with a fault on each that tells of a time after its own message."""
    ahead = (sent != NULL) & (rows.ts > sent + step) & (rows.kind <= RowKind.HEARTBEAT)
    fault = np.where((rows.fault == 0) & ahead, CODES[Reason.BEYOND_HORIZON], rows.fault)
    return replace(rows, fault=fault.astype(np.int8))


def _codes(symbol: pa.Array, symbols: Sequence[str]) -> NDArray[np.int32]:
    return _filled(_index(symbol, symbols), -1, np.int32)


def _index(column: pa.Array, words: Sequence[str]) -> pa.Array:
    return pc.index_in(column, pa.array(words, pa.string()))


def _times(column: pa.Array | None, count: int) -> NDArray[np.int64]:
    return _whole(None if column is None else column.cast(pa.int64()), count)


def _whole(column: pa.Array | None, count: int) -> NDArray[np.int64]:
    if column is None or column.null_count == len(column):
        return np.full(count, NULL, np.int64)
    return _filled(column, NULL, np.int64)


def _nulls(column: pa.Array) -> NDArray[np.bool_]:
    nulls: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return nulls


def _where(mask: NDArray[np.bool_], texts: NDArray[np.object_]) -> NDArray[np.object_]:
    kept = texts.copy()
    kept[~mask] = None
    return kept


def _filled(column: pa.Array, null: float, dtype: Any) -> NDArray[Any]:
    filled = column.fill_null(null) if column.null_count else column
    return _array(filled).astype(dtype, copy=False)


def _array(column: pa.Array) -> NDArray[Any]:
    """Return the values of a column, uncopied if they are numbers; texts as objects."""
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values


def _pack(rows: Rows) -> pa.RecordBatch:
    part = Part.of(rows)
    row = [to_bytes(rows), part.count, part.first, part.last]
    columns = [
        pa.array([value], field.type) for value, field in zip(row, schema.PACKS, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema.PACKS)


def parts_of(packs: pd.DataFrame) -> Iterator[Part]:
    """Yield packs (schema PACKS) as parts whose rows are unpacked when they are loaded."""
    names = (schema.ROWS, schema.COUNT, schema.FIRST, schema.LAST)
    for rows, count, first, last in zip(*(packs[name] for name in names), strict=True):
        yield Part(count, first, last, partial(from_bytes, rows))


def to_bytes(rows: Rows) -> bytes:
    """Return rows as an Arrow stream of one compressed batch.

    A column of the header that has one value everywhere is kept as that value; known_at as the time
    from ts on, which is one value for all bars. Kinds are kept by name.
    """
    words, index = _by_name(rows)
    header = {name: getattr(rows, name) for name in HEADER}
    header |= {"kind": index, "known_at": rows.known_at - rows.ts}
    same = {name: bool((values == values[:1]).all()) for name, values in header.items()}
    constant = {name: int(header[name][0]) for name, alike in same.items() if alike and len(rows)}
    columns = {name: pa.array(header[name]) for name in HEADER if name not in constant}
    for name, values in rows.payload.items():
        if name != _NAME:
            text = COLUMNS[name].form is Form.TEXT
            columns[name] = pa.array(values, pa.string() if text else None)
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    told = {"rows": len(rows), "kinds": words, "constant": constant}
    batch = batch.replace_schema_metadata({_HEAD: json.dumps(told)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_WRITE) as stream:
        stream.write_batch(batch)
    pack: bytes = sink.getvalue().to_pybytes()
    return pack


def from_bytes(pack: bytes) -> Rows:
    """Return the rows that `to_bytes` wrote; one of a kind that is not known here is faulty."""
    reader = pa.ipc.open_stream(pack, options=_READ)
    told = json.loads(reader.schema.metadata[_HEAD])
    batch = reader.read_next_batch()
    columns = {name: _array(batch.column(at)) for at, name in enumerate(batch.schema.names)}
    for name, value in told["constant"].items():
        columns[name] = np.full(told["rows"], value, HEADER[name])
    header = {name: columns.pop(name) for name in HEADER}
    header["known_at"] = header["known_at"] + header["ts"]
    payload = {name: values for name, values in columns.items() if name in COLUMNS}
    words = told["kinds"]
    if words != list(schema.NAMES):
        index = header["kind"]
        codes = [schema.NAMES.index(word) if word in schema.NAMES else UNKNOWN for word in words]
        header["kind"] = np.array(codes, np.int8)[index]
        unknown = header["kind"] == UNKNOWN
        payload[_NAME] = _where(unknown, np.array(words, object)[index])
        refused = unknown & (header["fault"] == 0)
        header["fault"] = np.where(refused, np.int8(CODES[Reason.UNKNOWN_KIND]), header["fault"])
    return Rows(**header, payload=payload)


def _by_name(rows: Rows) -> tuple[list[str], NDArray[Any]]:
    """Return names of kinds, and for each row which of them its kind is."""
    if not (rows.kind == UNKNOWN).any():
        return list(schema.NAMES), rows.kind
    words, index = np.unique(np.array(kind_names(rows)), return_inverse=True)
    return [str(word) for word in words], index.astype(np.int32)
