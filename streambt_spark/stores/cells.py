"""Columns of a source in few types, whatever types they came in, and single cells of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.errors import BadColumns, BadTime

_TEXT = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary,
    pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary,
)  # fmt: skip
_UNDERSTOOD = (
    *_TEXT, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean,
    pa.types.is_null, pa.types.is_date, pa.types.is_timestamp, pa.types.is_time,
)  # fmt: skip


def plain(column: pa.Array | pa.ChunkedArray, name: str, where: str) -> pa.Array:
    """Return a column as one array of numbers, times or valid UTF-8 texts.

    Bytes that are no text get a mark in their cell alone. Raises BadColumns for a type that is none
    of these, such as a struct or a list, and BadTime for times of a zone that is not known.
    """
    array = whole(column)
    kind = array.type
    if not any(is_kind(kind) for is_kind in _UNDERSTOOD):
        raise BadColumns(
            f"{where}: column {name!r} is of type {kind}; expected texts, numbers, dates or times, "
            "one in each cell: convert it, or map another column",
            column=name,
        )
    if pa.types.is_timestamp(kind):
        _require_known_zone(kind, name, where)
    if _is_text(kind):
        return _valid(array)
    return array


def value(cell: pa.Scalar) -> Any:
    """Return a cell as Python has it, or as text where Python has no such value."""
    try:
        return cell.as_py()
    except (OverflowError, ValueError, pa.ArrowException):
        if _is_text(cell.type):
            return bytes(cell.as_buffer()).decode("utf-8", "replace")
        return f"{cell.value} ({cell.type})"


def values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the cells of a column."""
    try:
        cells: list[Any] = column.to_pylist()
    except (OverflowError, ValueError, pa.ArrowException):
        cells = [value(cell) for cell in column]
    return cells


def whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return an array of the values themselves: in one piece, not encoded, not a user's type."""
    array = column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    while True:
        if isinstance(array, pa.DictionaryArray):
            array = array.dictionary_decode()
        elif isinstance(array, pa.RunEndEncodedArray):
            array = pc.run_end_decode(array)
        elif isinstance(array, pa.ExtensionArray):
            array = array.storage
        else:
            return array


def _is_text(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in _TEXT)


def _valid(array: pa.Array) -> pa.Array:
    try:
        texts = array.cast(pa.string())
        texts.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        cells = [None if not cell.is_valid else bytes(cell.as_buffer()) for cell in array]
        texts = pa.array([None if c is None else c.decode("utf-8", "replace") for c in cells])
    return texts


def _require_known_zone(kind: pa.TimestampType, name: str, where: str) -> None:
    try:
        pc.local_timestamp(pa.array(np.zeros(1, np.int64)).cast(kind))
    except pa.ArrowInvalid:
        raise BadTime(
            f"{where}: column {name!r} has times of the zone {kind.tz!r}, which is not known here; "
            "expected one such as UTC or America/New_York",
            column=name,
        ) from None
