"""Bars as Arrow tables, and back."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.core.market.bars import FIELDS, Bars

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

TIMESTAMP = pa.timestamp("us", tz="UTC")
BAR_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("ts", TIMESTAMP, nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in FIELDS),
        pa.field("interval", pa.string(), nullable=False),
        pa.field("seq", pa.int64()),
    ]
)
"""One row for each bar; `ts` is the start of the bar."""

SCHEMA_DIGEST = hashlib.sha256(
    "\n".join(
        f"{f.name} {f.type} {'null' if f.nullable else 'not null'}" for f in BAR_SCHEMA
    ).encode()
).hexdigest()
"""SHA-256 over the names, types and nullability of BAR_SCHEMA."""


def codes_to_strings(code: NDArray[np.int32], symbols: Sequence[str]) -> pa.Array:
    """Return the texts that codes stand for as a plain string array."""
    return pa.DictionaryArray.from_arrays(code, pa.array(symbols, pa.string())).cast(pa.string())


def bars_to_table(bars: Bars) -> pa.Table:
    """Return the bars as a table of BAR_SCHEMA, ordered by (ts, symbol), with `seq` null."""
    return pa.Table.from_batches(bars_to_batches(bars, max(1, len(bars))), BAR_SCHEMA)


def bars_to_batches(bars: Bars, rows: int = 131_072) -> Iterator[pa.RecordBatch]:
    """Yield the bars as batches of BAR_SCHEMA of at most `rows` rows, ordered by (ts, symbol)."""
    bars = bars.sorted()
    for start in range(0, len(bars), rows):
        part = bars.take(slice(start, start + rows))
        columns = [
            codes_to_strings(part.code, part.symbols),
            pa.array(part.ts).cast(TIMESTAMP),
            *(pa.array(getattr(part, name)) for name in FIELDS),
            pa.repeat(part.interval, len(part)),
            pa.nulls(len(part), pa.int64()),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=BAR_SCHEMA)


def encode(column: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return codes (int32) into the sorted distinct texts of a string or dictionary column."""
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # no chunk at all
            column = pa.array([], column.type)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    raw = column.indices.to_numpy(zero_copy_only=False)
    present = np.zeros(len(column.dictionary), bool)
    present[raw] = True
    used = np.flatnonzero(present)
    texts = column.dictionary.take(pa.array(used)).to_pylist()
    order = sorted(range(len(used)), key=texts.__getitem__)
    code = np.zeros(len(present), np.int32)
    code[used[order]] = np.arange(len(used), dtype=np.int32)
    return code[raw].astype(np.int32, copy=False), tuple(texts[i] for i in order)


def table_to_bars(table: pa.Table | pa.RecordBatch, interval: str) -> Bars:
    """Return a table's bars, ordered by (ts, symbol); columns beyond BAR_SCHEMA are ignored."""
    code, symbols = encode(table["symbol"])
    fields = {name: to_numpy(table[name]) for name in FIELDS}
    return Bars(interval, symbols, code, times(table["ts"]), **fields).sorted()


def times(column: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """Return a timestamp column as UTC microseconds."""
    return to_numpy(pc.cast(column, TIMESTAMP).cast(pa.int64()))


def to_numpy(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return a column without nulls as one NumPy array, without a copy where there is one chunk."""
    if isinstance(column, pa.ChunkedArray):
        array = column.to_numpy()
    else:
        array = column.to_numpy(zero_copy_only=False)
    return np.asarray(array)


def rebatch(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[pa.RecordBatch]:
    """Yield record batches of batches and tables, without the empty ones."""
    for item in batches:
        for batch in item.to_batches() if isinstance(item, pa.Table) else (item,):
            if batch.num_rows:
                yield batch
