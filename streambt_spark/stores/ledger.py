"""The ledger as a table: of Arrow, and of Delta, which is read and written here without Spark."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.core.ledger.digest import (
    EVENTS_AT_ONCE,
    Columns,
    Numbers,
    Texts,
    Vocabulary,
    canonical_bytes,
    digest_of_parts,
    spans,
)
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import REGISTRY, RUN_WORDS, Field, Kind, Registry, Words
from streambt_spark.core.ledger.order import canonical_order, find_fault
from streambt_spark.errors import DataError, LedgerDamaged, OutputError, SourceNotFound
from streambt_spark.stores.delta import open_table, read_table
from streambt_spark.stores.location import Location
from streambt_spark.stores.tables import TIMESTAMP, encode, times, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

REQUIRED = ("lane", "ts", "seq", "kind")
"""What every event has."""

RUNS_OF = 64
"""Rows that follow one another in the order wanted are taken as slices, where so many do."""


def schema_of(registry: Registry) -> pa.Schema:
    """Return a ledger's columns: words as texts, times as timestamps, money as minor units."""

    def column(field: Field) -> pa.DataType:
        if field.words:
            return pa.string()
        if field.name == "ts":
            return TIMESTAMP
        return pa.float64() if field.is_float else pa.int64()

    return pa.schema([pa.field(f.name, column(f), f.name not in REQUIRED) for f in registry.fields])


LEDGER_SCHEMA = schema_of(REGISTRY)


class Failure(NamedTuple):
    """A strategy that was disabled at a time (UTC µs), for its code raised, and what that said."""

    lane: str
    ts: int
    text: str

    @property
    def time(self) -> str:
        """The time as ISO 8601."""
        return str(np.datetime64(self.ts, "us")).removesuffix(".000000") + "Z"


def ledger_table(events: Events, vocabulary: Vocabulary, registry: Registry = REGISTRY) -> pa.Table:
    """Return events as a table of `schema_of(registry)`.

    `vocabulary` is the plan's; the texts are the events' own.
    """
    return ledger_of_parts([events], vocabulary, registry)


def ledger_of_parts(
    parts: Iterable[Events], vocabulary: Vocabulary, registry: Registry = REGISTRY
) -> pa.Table:
    """Return the events of all parts as one table, see `ledger_table`."""
    schema = schema_of(registry)
    batches = []
    for events in parts:
        words = {**vocabulary, "text": Words((None, *events.texts), -1)}
        # A column of records touches all of their memory: few enough of them stay in the cache.
        for start in range(0, len(events), EVENTS_AT_ONCE):
            records = events.records[start : start + EVENTS_AT_ONCE]
            columns = [
                _column(records[field.name], field, words).cast(schema.field(field.name).type)
                for field in registry.fields
            ]
            batches.append(pa.record_batch(columns, schema=schema))
    return pa.Table.from_batches(batches, schema)


def _column(values: NDArray[Any], field: Field, vocabulary: Vocabulary) -> pa.Array:
    if field.words:
        texts, first = vocabulary[field.words]
        code = values.astype(np.int32) - first
        null = np.array([text is None for text in texts])[code]
        words = pa.array([text or "" for text in texts], pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(code, mask=null), words)
    values = np.ascontiguousarray(values)
    return pa.array(values, mask=field.nulls(values))


def ledger_events(
    ledger: pa.Table, registry: Registry = REGISTRY
) -> tuple[Events, dict[str, Words]]:
    """Return the rows of a ledger as events, and the vocabulary of their codes.

    Raises DataError for a word of a fixed vocabulary that this release does not know.
    """
    records = np.repeat(registry.blank, len(ledger))
    vocabulary = registry.vocabulary()
    for field in registry.fields:
        column = ledger[field.name]
        if not field.words:
            records[field.name] = _numbers(column, field)
        elif column.null_count < len(column):
            codes, vocabulary[field.words] = _codes(column, field, vocabulary[field.words])
            records[field.name] = codes
    return Events(records, vocabulary["text"].texts[1:]), vocabulary  # type: ignore[arg-type]


def _numbers(column: pa.ChunkedArray, field: Field) -> NDArray[Any]:
    if field.name == "ts":
        return times(column)
    return to_numpy(pc.fill_null(column, field.null) if column.null_count else column)


def _codes(column: pa.ChunkedArray, field: Field, known: Words) -> tuple[NDArray[np.int32], Words]:
    """Return the codes of texts, and their vocabulary: a run's own is what occurs."""
    codes, found = encode(pc.drop_null(column) if column.null_count else column)
    if field.words in RUN_WORDS:
        known = Words((*known.texts, *(text for text in found if text not in known.texts)), -1)
    place = {text: code for code, text in enumerate(known.texts, known.first)}
    if strange := set(found) - set(place):
        raise DataError(
            f"the ledger's {field.name} {min(strange)!r} is not known to this release; "
            "read it with the release that wrote it"
        )
    whole = np.full(len(column), int(field.null), np.int32)
    whole[to_numpy(column.is_valid())] = np.array([place[text] for text in found])[codes]
    return whole, known


def account_events(ledger: pa.Table) -> pa.Table:
    """Return the events of the lanes, without the audit events, sorted by (lane, ts, seq)."""
    parts = list(_account_parts(ledger, max(len(ledger), 1)))
    return pa.concat_tables(parts) if parts else ledger.slice(0, 0)


def _account_parts(ledger: pa.Table, size: int) -> Iterator[pa.Table]:
    """Yield the account events in canonical order, up to `size` at once."""
    lane, lanes = encode(ledger["lane"])
    order = canonical_order(lane, times(ledger["ts"]), to_numpy(ledger["seq"]))
    audit = int((lane == 0).sum()) if lanes[:1] == ("",) else 0  # '' is the first of all texts
    order = order[audit:] if order is not None else np.arange(audit, len(lane))
    runs = 1 + int((np.diff(order) != 1).sum())
    scattered = runs * RUNS_OF > len(order)
    ledger = ledger.combine_chunks() if scattered else ledger
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield ledger.take(pa.array(rows)) if scattered else _slices(ledger, rows)


def _slices(ledger: pa.Table, rows: NDArray[np.intp]) -> pa.Table:
    """Return rows of which most follow one another, without touching each one."""
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    return pa.concat_tables([ledger.slice(int(run[0]), len(run)) for run in runs])


def ledger_digest(ledger: pa.Table) -> str:
    """Return the digest of a ledger's account events, whatever the order of its rows."""
    return digest_of_parts(map(canonical_columns, _account_parts(ledger, EVENTS_AT_ONCE)))


def canonical_columns(ledger: pa.Table, registry: Registry = REGISTRY) -> Columns:
    """Return rows of a ledger as the canonical form takes them: as they lie in memory.

    A column that is null throughout has no part in it.
    """
    columns = [(field, ledger[field.name]) for field in registry.fields]
    present = np.zeros(len(ledger), np.bool_)
    return [
        (field.number, _canonical(column.combine_chunks(), field, present))
        for field, column in columns
        if column.null_count < len(column)
    ]


def _canonical(column: pa.Array, field: Field, null: NDArray[np.bool_]) -> Numbers | Texts:
    """Return a column; `null` is that of one without nulls."""
    if column.null_count:
        null = np.asarray(column.is_null().to_numpy(zero_copy_only=False))
    buffers, stop = column.buffers(), column.offset + len(column)
    if not field.words:
        return Numbers(np.frombuffer(buffers[1], np.int64)[column.offset : stop], null)
    offsets = np.frombuffer(buffers[1], np.int32)[column.offset : stop + 1]
    start, size = spans(offsets, null)
    return Texts(start, size, np.frombuffer(buffers[2] or b"", np.uint8))


def first_difference(a: pa.Table, b: pa.Table) -> int:
    """Return the first row at which two tables of events differ, to the bit of a float."""
    short = min(len(a), len(b))
    for start in range(0, short, EVENTS_AT_ONCE):
        parts = (table.slice(start, min(EVENTS_AT_ONCE, short - start)) for table in (a, b))
        first, second = (_pieces(part) for part in parts)
        for offset, (x, y) in enumerate(zip(first, second, strict=True)):
            if x != y:
                return start + offset
    return short


def _pieces(events: pa.Table) -> list[bytes]:
    """Return the canonical bytes of each event."""
    whole, starts = canonical_bytes(canonical_columns(events))
    edges = [*starts.tolist(), len(whole)]
    data = whole.tobytes()
    return [data[start:stop] for start, stop in pairwise(edges)]


def event_line(events: pa.Table, at: int) -> str:
    """Return an event as a line to read: its fields that are not null."""
    row = {name: events[name][at].as_py() for name in events.column_names}
    row["ts"] = row["ts"].isoformat().replace("+00:00", "Z")
    return " ".join(f"{name}={value}" for name, value in row.items() if value not in (None, ""))


def check_numbers(ledger: pa.Table, address: str) -> None:
    """Raise LedgerDamaged where a lane's events are not numbered 0, 1, 2, … each once.

    Of the table it reads `lane` and `seq` alone.
    """
    lane, lanes = encode(ledger["lane"])
    fault = find_fault(lane, to_numpy(ledger["seq"]))
    if fault is None:
        return
    whose = f"lane {lanes[fault.lane]}" if lanes[fault.lane] else "the audit events"
    found = "is missing" if fault.times == 0 else f"is there {fault.times} times"
    raise LedgerDamaged(
        f"the ledger {address} is damaged: of {whose}, event {fault.seq:,} {found}; "
        "a copy of the ledger and its checkpoint from one moment is whole, or run again into "
        "another folder",
        address=address,
    )


def write_ledger(address: str, ledger: pa.Table) -> None:
    """Write a whole ledger as a Delta table, in place of what is there."""
    from deltalake import write_deltalake
    from deltalake.exceptions import DeltaError

    place = Location.of(address)
    try:
        place.make()
        write_deltalake(
            place.delta_address, ledger, mode="overwrite", storage_options=place.delta_options
        )
    except (DeltaError, OSError) as error:
        cause = " ".join(str(error).split())[:200]
        raise OutputError(f"the ledger {place.text} cannot be written: {cause}") from error


def read_ledger(
    path: str, *, columns: Sequence[str] | None = None, kinds: Sequence[str] | None = None
) -> pa.Table:
    """Return a ledger table, or of it some columns of the events of some kinds.

    Raises SourceNotFound where there is none.
    """
    table = _read(
        path, columns=columns, rows=None if kinds is None else pc.field("kind").isin(list(kinds))
    )
    if table is None:
        raise SourceNotFound(f"no ledger at {path}; run the backtest first, or check the path")
    return table


def failures(ledger: pa.Table) -> list[Failure]:
    """Return the strategies that a ledger tells were disabled, in the order of its rows."""
    disabled = ledger.filter(pc.equal(ledger["kind"], Kind.DISABLED.name.lower()))
    texts = disabled["text"].to_pylist()
    lanes, times = disabled["lane"].to_pylist(), disabled["ts"].cast(pa.int64()).to_pylist()
    return [Failure(*each) for each in zip(lanes, times, texts, strict=True)]


def read_failures(path: str) -> list[Failure]:
    """Return the strategies that were disabled so far; none where there is no ledger."""
    table = _read(path, rows=pc.field("kind") == Kind.DISABLED.name.lower())
    return [] if table is None else failures(table)


def has_ended(path: str) -> bool:
    """Return whether a ledger tells that its stream has ended; False where there is none."""
    end = Kind.END.name.lower()
    found = _read(path, columns=["kind"], rows=pc.field("kind") == end)
    return found is not None and found.num_rows > 0


def is_ended(ledger: pa.Table) -> bool:
    """Return whether rows of a ledger tell that its stream has ended."""
    return bool(pc.any(pc.equal(ledger["kind"], Kind.END.name.lower())).as_py())


def rows_read(ledger: pa.Table) -> int:
    """Return how many rows a ledger's run has read."""
    read = pc.and_(pc.equal(ledger["kind"], "counts"), pc.equal(ledger["reason"], "read"))
    return int(pc.sum(ledger.filter(read)["count"]).as_py() or 0)


def ledger_exists(path: str) -> bool:
    """Return whether there is a ledger's table."""
    return open_table(path) is not None


def _read(path: str, **choice: Any) -> pa.Table | None:
    table = open_table(path)
    return None if table is None else read_table(table, path, **choice)
