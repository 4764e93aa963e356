"""The ledger as a table: of Arrow, and of Delta, which is read and written here without Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.core.ledger.events import (
    AUDIT,
    COLUMNS,
    DTYPES,
    KIND_NAMES,
    NULL,
    REASONS,
    SIDE_NAMES,
    Events,
    Kind,
    digest,
)
from streambt_spark.errors import LedgerDamaged, OutputError, SourceNotFound
from streambt_spark.stores.delta import open_table, read_table
from streambt_spark.stores.location import Location

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TEXT = ("lane", "kind", "symbol", "side", "reason")
LEDGER_SCHEMA = pa.schema(
    [
        pa.field("ts", pa.timestamp("us", tz="UTC"))
        if name == "ts"
        else pa.field(
            name,
            pa.string()
            if name in TEXT
            else pa.float64()
            if np.dtype(DTYPES[name]).kind == "f"
            else pa.int64(),
        )
        for name in COLUMNS
    ]
)
_COUNT = "quantity"  # of a row of counts
AUDIT_NAMES = tuple(sorted(KIND_NAMES[kind] for kind in AUDIT))


class Failure(NamedTuple):
    """A strategy that was disabled at a time (UTC µs), for its code raised, and what that said."""

    lane: str
    ts: int
    text: str

    @property
    def time(self) -> str:
        """The time as ISO 8601."""
        return str(np.datetime64(self.ts, "us")).removesuffix(".000000") + "Z"


def ledger_table(events: Events, lanes: Sequence[str], symbols: Sequence[str]) -> pa.Table:
    """Return events as a table of LEDGER_SCHEMA; an audit event's lane is ''."""
    texts: dict[str, Sequence[str | None]] = {
        "lane": (*lanes, ""),
        "kind": KIND_NAMES,
        "symbol": (*symbols, None),
        "side": (SIDE_NAMES[0], SIDE_NAMES[1], SIDE_NAMES[-1]),
        "reason": REASONS,
    }
    columns = []
    for field in LEDGER_SCHEMA:
        values = getattr(events, field.name)
        if field.name in texts:
            columns.append(_decode(values, texts[field.name]))
        elif field.name == "ts":
            columns.append(pa.array(values).cast(field.type))
        else:
            null = np.isnan(values) if values.dtype.kind == "f" else values == NULL
            columns.append(pa.array(values, mask=null))
    return pa.table(columns, schema=LEDGER_SCHEMA)


def _decode(codes: NDArray[Any], texts: Sequence[str | None]) -> pa.Array:
    """Return the texts of codes; -1 is the last one."""
    index = np.where(codes < 0, len(texts) + codes, codes).astype(np.int32)
    null = np.array([text is None for text in texts])[index]
    words = pa.array([text or "" for text in texts], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(index, mask=null), words).cast(pa.string())


def account_events(ledger: pa.Table) -> pa.Table:
    """Return the events of the lanes, without the audit events, sorted by (lane, ts, seq)."""
    audit = pc.is_in(ledger["kind"], pa.array(AUDIT_NAMES))
    kept = ledger.filter(pc.invert(audit))
    return kept.sort_by([("lane", "ascending"), ("ts", "ascending"), ("seq", "ascending")])


def ledger_digest(ledger: pa.Table) -> str:
    """Return the digest of a ledger's account events, whatever the order of its rows."""
    kept = account_events(ledger)
    columns = {name: kept[name] for name in COLUMNS if name != "ts"}
    columns["ts"] = kept["ts"].cast(pa.int64())
    return digest({name: column.to_pylist() for name, column in columns.items()})


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


def read_ledger(path: str) -> pa.Table:
    """Return all rows of a ledger table. Raises SourceNotFound where there is none."""
    table = _read(path)
    if table is None:
        raise SourceNotFound(f"no ledger at {path}; run the backtest first, or check the path")
    return table


def failures(ledger: pa.Table) -> list[Failure]:
    """Return the strategies that a ledger tells were disabled, in the order of its rows."""
    disabled = ledger.filter(pc.equal(ledger["kind"], Kind.DISABLED.name.lower()))
    texts = disabled["text" if "text" in disabled.column_names else "reason"].to_pylist()
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
    return int(pc.sum(ledger.filter(read)[_COUNT]).as_py() or 0)


def check_numbers(ledger: pa.Table, address: str) -> None:
    """Raise LedgerDamaged where a lane's events are not numbered 0, 1, 2, … each once."""
    lanes = ledger.group_by("lane").aggregate(
        [("seq", "count"), ("seq", "count_distinct"), ("seq", "max")]
    )
    for lane, count, distinct, last in zip(*lanes.columns, strict=True):
        if not count.as_py() == distinct.as_py() == last.as_py() + 1:
            raise LedgerDamaged(
                f"the ledger {address} is damaged: lane {lane.as_py()!r} has {distinct.as_py():,} "
                f"of {last.as_py() + 1:,} events, {count.as_py() - distinct.as_py():,} twice",
                address=address,
            )


def ledger_exists(path: str) -> bool:
    """Return whether there is a ledger's table."""
    return open_table(path) is not None


def _read(path: str, **choice: Any) -> pa.Table | None:
    table = open_table(path)
    return None if table is None else read_table(table, path, **choice)
