"""Rows from the tables of a stream (see `schema`), translated and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.core.market.bars import interval_us
from streambt_spark.core.market.faults import CODES, Reason
from streambt_spark.core.market.rows import (
    COLUMNS,
    KINDS,
    MARKS,
    NULL,
    UNKNOWN,
    Column,
    Form,
    RowKind,
    Rows,
    kinds_with,
    screen,
)
from streambt_spark.streams import schema

if TYPE_CHECKING:
    from numpy.typing import NDArray

Cells = Mapping[str, pa.Array]
"""The columns of a batch by name."""

_ABOUT_TIME = (*MARKS, RowKind.FLUSH)
_REASONS = [str(reason) for reason in Reason]


def rows_of(batch: pa.RecordBatch, symbols: Sequence[str], interval: str) -> Rows:
    """Return stream rows as rows of the core, checked; a column that is missing is null.

    A row's fault is the first of these: what its reader says; something it needs is not there, or
    is of another type (missing_field); a word that its vocabulary has not (unknown_word); what
    `screen` finds; a bar or heartbeat later than the message that brought it by more than one
    interval, for nobody could have known it (beyond_horizon). A mark of a symbol that is not traded
    here says nothing and is left out.
    """
    cells = dict(zip(batch.schema.names, batch.columns, strict=True))
    step = interval_us(interval)
    rows = screen(_read(cells, batch.num_rows, symbols, step), interval)
    if schema.SENT in cells:
        rows = _believed(rows, _times(cells[schema.SENT], len(rows)), step)
    return _without_foreign_marks(rows, cells[schema.SYMBOL]) if rows.kind.any() else rows


def _read(cells: Cells, count: int, symbols: Sequence[str], step: int) -> Rows:
    """Return rows with the faults that only their table shows."""
    kind, payload = _kinds(cells.get(schema.KIND), count)
    fault = _fault_codes(cells.get(schema.FAULT), count)
    _set(fault, Reason.MISSING_FIELD, _missing(cells, kind))
    for name, column in COLUMNS.items():
        cell = cells.get(name)
        if cell is None or cell.null_count == count:
            continue
        values = _values(column, cell)
        if kind.any() or name not in KINDS[RowKind.BAR].columns:
            own = np.isin(kind, kinds_with(name))
            if column.form is Form.WORD:
                _set(fault, Reason.UNKNOWN_WORD, own & (values < 0) & ~nulls(cell))
            values = np.where(own, values, column.nulls(1))
        payload[name] = values
    ts = _times(cells.get(schema.TS), count)
    return Rows(
        kind=kind,
        code=_filled(_index(cells[schema.SYMBOL], symbols), -1, np.int32),
        ts=ts,
        seq=_whole(cells.get(schema.SEQ), count),
        known_at=_known_at(_times(cells.get(schema.KNOWN_AT), count), kind, ts, step),
        fault=fault,
        payload=payload,
    )


def _without_foreign_marks(rows: Rows, symbol: pa.Array) -> Rows:
    foreign = (rows.code < 0) & (rows.fault == 0) & np.isin(rows.kind, _ABOUT_TIME)
    return rows.where(~foreign | nulls(symbol)) if foreign.any() else rows


def _set(fault: NDArray[np.int8], reason: Reason, broken: NDArray[np.bool_]) -> None:
    fault[broken & (fault == 0)] = CODES[reason]


def _kinds(column: pa.Array | None, count: int) -> tuple[NDArray[np.int8], dict[str, NDArray[Any]]]:
    """Return the kinds of rows, and what the unknown ones are called as a payload, if any is."""
    if column is None:
        return np.zeros(count, np.int8), {}
    kind = _filled(_index(column, schema.NAMES), UNKNOWN, np.int8)
    if (kind != UNKNOWN).all():
        return kind, {}
    kind = np.where((kind == UNKNOWN) & nulls(column), np.int8(RowKind.BAR), kind)
    names = array(column)
    names[kind != UNKNOWN] = None
    return kind, {schema.NAME: names} if (kind == UNKNOWN).any() else {}


def _values(column: Column, cell: pa.Array) -> NDArray[Any]:
    if column.form is Form.NUMBER:
        return _filled(cell, np.nan, np.float64)
    if column.form is Form.TIME:
        return _times(cell, len(cell))
    if column.form is Form.WORD:
        return _filled(_index(cell, column.words), -1, np.int8)
    return array(cell)


def _missing(cells: Cells, kind: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return which rows lack something that their kind needs."""
    missing = np.zeros(len(kind), bool)
    for each in (np.flatnonzero(np.bincount(kind + 1)) - 1).tolist():
        for name in KINDS[each].needs:
            cell = cells.get(name)
            if cell is None or cell.null_count:
                missing |= (kind == each) & (True if cell is None else nulls(cell))
    return missing


def _fault_codes(column: pa.Array | None, count: int) -> NDArray[np.int8]:
    if column is None or column.null_count == len(column):
        return np.zeros(count, np.int8)
    malformed = CODES[Reason.MALFORMED] - 1
    codes = _filled(_index(column, _REASONS), malformed, np.int8) + np.int8(1)
    return np.where(nulls(column), np.int8(0), codes)


def _known_at(
    times: NDArray[np.int64], kind: NDArray[np.int8], ts: NDArray[np.int64], step: int
) -> NDArray[np.int64]:
    """Return when rows may be used: a bar never before its end."""
    ends = np.maximum(times, ts + step)
    timed = (kind == RowKind.BAR) & (ts != NULL)
    return ends if timed.all() else np.where(timed, ends, times)


def _believed(rows: Rows, sent: NDArray[np.int64], step: int) -> Rows:
    """Return the rows, with a fault on each that tells of a time after its own message."""
    ahead = (sent != NULL) & (rows.ts > sent + step) & (rows.kind <= RowKind.HEARTBEAT)
    fault = np.where((rows.fault == 0) & ahead, CODES[Reason.BEYOND_HORIZON], rows.fault)
    return replace(rows, fault=fault.astype(np.int8))


def _index(column: pa.Array, words: Sequence[str]) -> pa.Array:
    return pc.index_in(column, pa.array(words, pa.string()))


def _times(column: pa.Array | None, count: int) -> NDArray[np.int64]:
    return _whole(None if column is None else column.cast(pa.int64()), count)


def _whole(column: pa.Array | None, count: int) -> NDArray[np.int64]:
    if column is None or column.null_count == len(column):
        return np.full(count, NULL, np.int64)
    return _filled(column, NULL, np.int64)


def _filled(column: pa.Array, null: float, dtype: Any) -> NDArray[Any]:
    filled = column.fill_null(null) if column.null_count else column
    return array(filled).astype(dtype, copy=False)


def nulls(column: pa.Array) -> NDArray[np.bool_]:
    """Return which values of a column are null."""
    nulls: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return nulls


def array(column: pa.Array) -> NDArray[Any]:
    """Return the values of a column, uncopied if they are numbers; texts as objects."""
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values
