"""Rows of the stream packed into few large ones, as the stateful operator takes them.

Spark hands applyInPandasWithState one state cell for every input row and turns each into a Python
object, which costs more than the rest of the operator. So the tasks that read the rows translate
and check them and pack thousands of them into one binary row; the operator gets a handful of rows.
Packs are compressed, for the JVM holds a batch several times on its way. The replay source packs
its rows itself; the rows of a source of Spark's own pass through `packed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.core.market.bars import FIELDS
from streambt_spark.core.market.faults import FAULTS, Reason
from streambt_spark.core.market.portions import Part
from streambt_spark.core.market.slices import Mark, Rows, screen
from streambt_spark.streams import schema

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_SCHEMA = pa.schema(
    [
        pa.field(schema.ROWS, pa.binary(), nullable=False),
        *(
            pa.field(name, pa.int64(), nullable=False)
            for name in (schema.COUNT, schema.FIRST, schema.LAST)
        ),
    ]
)
_WRITE = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 3), use_threads=False)
_READ = pa.ipc.IpcReadOptions(use_threads=False)
ROWS_PER_PACK = 16_384
"""Rows of a pack: a megabyte at most before it is compressed, no large object for Spark's JVM."""


def packer(
    symbols: Sequence[str], interval: str, most: int = ROWS_PER_PACK
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function that makes of each batch of STREAM a batch of PACKS with one row.

    `symbols` give the codes; what is none of them, and what breaks a rule, is marked as faulty. A
    batch of more than `most` rows becomes several.
    """

    def packs(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start in range(0, batch.num_rows, most):
                rows = screen(rows_of(batch.slice(start, most), symbols), interval)
                yield _pack(rows)

    return packs


def rows_of(batch: pa.RecordBatch, symbols: Sequence[str]) -> Rows:
    """Return a batch of STREAM as rows; what is null there becomes what `Rows` has for it.

    A mark of a symbol that is not traded here says nothing and is left out.
    """
    symbol, mark = batch[schema.SYMBOL], batch[schema.MARK]
    known = pc.index_in(symbol, pa.array(symbols, pa.string()))
    code = _filled(known, -1, np.int32)
    said = pc.index_in(mark, pa.array(schema.MARKS, pa.string()))
    marks = _filled(said, len(schema.MARKS) - 1, np.int8)
    malformed = marks == schema.MARKS.index(schema.MALFORMED)
    rows = Rows(
        code=code,
        ts=_filled(batch[schema.TS].cast(pa.int64()), 0, np.int64),
        seq=_filled(batch[schema.SEQ], 0, np.int64),
        mark=np.where(malformed, np.int8(Mark.BAR), marks),
        fault=np.where(malformed, np.int8(FAULTS.index(Reason.MALFORMED)), np.int8(0)),
        **{name: _filled(batch[name], np.nan, np.float64) for name in FIELDS},
    )
    foreign = (
        (code < 0) & (rows.mark != Mark.BAR) & symbol.is_valid().to_numpy(zero_copy_only=False)
    )
    return rows.where(~foreign)


def _pack(rows: Rows) -> pa.RecordBatch:
    part = Part.of(rows)
    row = [to_bytes(rows), part.count, part.first, part.last]
    columns = [pa.array([value], field.type) for value, field in zip(row, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)


def parts_of(packs: pd.DataFrame) -> Iterator[Part]:
    """Yield packs (schema PACKS) as parts whose rows are unpacked when they are loaded."""
    names = (schema.ROWS, schema.COUNT, schema.FIRST, schema.LAST)
    for rows, count, first, last in zip(*(packs[name] for name in names), strict=True):
        yield Part(count, first, last, partial(from_bytes, rows))


def to_bytes(rows: Rows) -> bytes:
    """Return rows as an Arrow stream of one compressed batch."""
    columns = [pa.array(getattr(rows, name)) for name in Rows.__slots__]
    batch = pa.RecordBatch.from_arrays(columns, list(Rows.__slots__))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_WRITE) as stream:
        stream.write_batch(batch)
    pack: bytes = sink.getvalue().to_pybytes()
    return pack


def from_bytes(pack: bytes) -> Rows:
    """Return the rows that `to_bytes` wrote."""
    batch = pa.ipc.open_stream(pack, options=_READ).read_next_batch()
    return Rows(*(column.to_numpy() for column in batch.columns))


def _filled(column: pa.Array, null: float, dtype: Any) -> NDArray[Any]:
    filled = column.fill_null(null) if column.null_count else column
    values: NDArray[Any] = filled.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    return values
