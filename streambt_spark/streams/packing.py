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

from streambt_spark.core.market.faults import CODES, Reason
from streambt_spark.core.market.portions import Part
from streambt_spark.core.market.rows import (
    COLUMNS,
    HEADER,
    UNKNOWN,
    Form,
    Rows,
    kind_names,
)
from streambt_spark.streams import schema
from streambt_spark.streams.rows import array, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_WRITE = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 3), use_threads=False)
_READ = pa.ipc.IpcReadOptions(use_threads=False)
_HEAD = b"streambt"
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
    constant = {name: int(values[0]) for name, values in header.items() if _is_constant(values)}
    columns = {name: pa.array(header[name]) for name in HEADER if name not in constant}
    for name, values in rows.payload.items():
        if name != schema.NAME:
            text = COLUMNS[name].form is Form.TEXT
            columns[name] = pa.array(values, pa.string() if text else None)
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    head = {"rows": len(rows), "kinds": words, "constant": constant}
    batch = batch.replace_schema_metadata({_HEAD: json.dumps(head)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_WRITE) as stream:
        stream.write_batch(batch)
    pack: bytes = sink.getvalue().to_pybytes()
    return pack


def _is_constant(values: NDArray[Any]) -> bool:
    return len(values) > 0 and values[0] == values[-1] and bool((values == values[0]).all())


def from_bytes(pack: bytes) -> Rows:
    """Return the rows that `to_bytes` wrote; one of a kind that is not known here is faulty."""
    reader = pa.ipc.open_stream(pack, options=_READ)
    head = json.loads(reader.schema.metadata[_HEAD])
    batch = reader.read_next_batch()
    columns = {name: array(batch.column(at)) for at, name in enumerate(batch.schema.names)}
    for name, value in head["constant"].items():
        columns[name] = np.full(head["rows"], value, HEADER[name])
    header = {name: columns.pop(name) for name in HEADER}
    header["known_at"] = header["known_at"] + header["ts"]
    payload = {name: values for name, values in columns.items() if name in COLUMNS}
    rows = Rows(**header, payload=payload)
    return rows if head["kinds"] == list(schema.NAMES) else _renamed(rows, head["kinds"])


def _renamed(rows: Rows, words: list[str]) -> Rows:
    """Return rows whose kinds point into `words` with the kinds of this release."""
    codes = [schema.NAMES.index(word) if word in schema.NAMES else UNKNOWN for word in words]
    kind = np.array(codes, np.int8)[rows.kind]
    unknown = kind == UNKNOWN
    names = np.array(words, object)[rows.kind]
    names[~unknown] = None
    refused = unknown & (rows.fault == 0)
    fault = np.where(refused, np.int8(CODES[Reason.UNKNOWN_KIND]), rows.fault)
    payload = dict(rows.payload) | ({schema.NAME: names} if unknown.any() else {})
    return replace(rows, kind=kind, fault=fault, payload=payload)


def _by_name(rows: Rows) -> tuple[list[str], NDArray[Any]]:
    """Return names of kinds, and for each row which of them its kind is."""
    if not (rows.kind == UNKNOWN).any():
        return list(schema.NAMES), rows.kind
    # As objects: NumPy's own texts lose what ends in NUL.
    words, index = np.unique(np.array(kind_names(rows), object), return_inverse=True)
    return words.tolist(), index.astype(np.int32)
