"""Rows of the stream packed into few large ones, as the stateful operator takes them.

Spark hands applyInPandasWithState one state cell for every input row and turns each into a Python
object, which costs more than the rest of the operator. So the tasks that read the rows translate
and check them and pack an Arrow batch into one binary row; the operator gets a handful of rows.
The replay source does so itself; the rows of a source of Spark's own pass through `packed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.core.bars import FAULTS, FIELDS, Reason
from streambt_spark.core.slices import Mark, Rows, screen
from streambt_spark.spark import schemas

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

_SCHEMA = pa.schema([(schemas.PACKED, pa.binary())])
_DTYPES: dict[str, str] = {
    "code": "<i4", "ts": "<i8", "seq": "<i8", "mark": "|i1", "fault": "|i1",
    **dict.fromkeys(FIELDS, "<f8"),
}  # fmt: skip
_WIDTH = sum(np.dtype(dtype).itemsize for dtype in _DTYPES.values())
assert tuple(_DTYPES) == Rows.__slots__


def packed(rows: DataFrame, symbols: Sequence[str], interval: str) -> DataFrame:
    """Return a stream of rows (schema STREAM) as packs (schema PACKS)."""
    return rows.mapInArrow(packer(symbols, interval), schemas.PACKS)


def packer(
    symbols: Sequence[str], interval: str, most: int | None = None
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function that makes of each batch of STREAM a batch of PACKS with one row.

    `symbols` give the codes; what is none of them, and what breaks a rule, is marked as faulty. A
    batch of more than `most` rows becomes several.
    """

    def packs(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start in range(0, batch.num_rows, most or batch.num_rows or 1):
                part = batch.slice(start, most)
                pack = to_bytes(screen(rows_of(part, symbols), interval))
                yield pa.RecordBatch.from_arrays([pa.array([pack], pa.binary())], schema=_SCHEMA)

    return packs


def rows_of(batch: pa.RecordBatch, symbols: Sequence[str]) -> Rows:
    """Return a batch of STREAM as rows; what is null there becomes what `Rows` has for it.

    A mark of a symbol that is not traded here says nothing and is left out.
    """
    symbol, mark = batch[schemas.SYMBOL], batch[schemas.MARK]
    known = pc.index_in(symbol, pa.array(symbols, pa.string()))
    code = _filled(known, -1, np.int32)
    said = pc.index_in(mark, pa.array(schemas.MARKS, pa.string()))
    marks = _filled(said, len(schemas.MARKS) - 1, np.int8)
    malformed = marks == schemas.MARKS.index(schemas.MALFORMED)
    rows = Rows(
        code=code,
        ts=_filled(batch[schemas.TS].cast(pa.int64()), 0, np.int64),
        seq=_filled(batch[schemas.SEQ], 0, np.int64),
        mark=np.where(malformed, np.int8(Mark.BAR), marks),
        fault=np.where(malformed, np.int8(FAULTS.index(Reason.MALFORMED)), np.int8(0)),
        **{name: _filled(batch[name], np.nan, np.float64) for name in FIELDS},
    )
    foreign = (
        (code < 0) & (rows.mark != Mark.BAR) & symbol.is_valid().to_numpy(zero_copy_only=False)
    )
    return rows.where(~foreign)


def to_bytes(rows: Rows) -> bytes:
    """Return rows as bytes: column after column, little endian."""
    return b"".join(
        np.ascontiguousarray(getattr(rows, name), dtype).tobytes()
        for name, dtype in _DTYPES.items()
    )


def from_bytes(packs: Iterable[bytes]) -> Rows:
    """Return the rows of all packs, in order."""
    parts = [_unpacked(bytes(data)) for data in packs]
    return parts[0] if len(parts) == 1 else Rows.concat(*parts)


def _unpacked(data: bytes) -> Rows:
    count = len(data) // _WIDTH
    columns, at = [], 0
    for dtype in _DTYPES.values():
        columns.append(np.frombuffer(data, dtype, count, at))
        at += count * np.dtype(dtype).itemsize
    return Rows(*columns)


def _filled(column: pa.Array, null: float, dtype: Any) -> NDArray[Any]:
    filled = column.fill_null(null) if column.null_count else column
    values: NDArray[Any] = filled.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    return values
