"""Raw rows to valid bars and quarantine, with nothing lost on the way."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.core.market.bars import (
    FIELDS,
    SYMBOL,
    Bars,
    compact,
    concat,
    interval_us,
    settle,
)
from streambt_spark.core.market.faults import Reason, find_faults
from streambt_spark.errors import BadTime, NoData, did_you_mean
from streambt_spark.stores.sources import RawBatch, Source, read_source
from streambt_spark.stores.tables import TIMESTAMP, encode
from streambt_spark.stores.times import NAT, parse_times

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("symbol", pa.string()),
        pa.field("ts", TIMESTAMP),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("raw", pa.string(), nullable=False),
    ]
)
"""One refused row: its number in the source from 1, what could be read of it, and its text."""

_MISSING = pa.array(["", "null", "none", "na", "n/a"])
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:nan|inf|infinity)$"
_LONGEST_TEXT = 2_000


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the rows: read == accepted + duplicate + late + rejected, always.

    `revised` of the accepted rows replaced an earlier one of the same symbol and time.
    """

    read: int = 0
    accepted: int = 0
    duplicate: int = 0
    late: int = 0
    rejected: int = 0
    revised: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __post_init__(self) -> None:
        assert self.read == self.accepted + self.duplicate + self.late + self.rejected


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """A batch after validation: valid bars in order of arrival, which may repeat, and the rest.

    `where` names the source and `row` the numbers of the bars' rows in it; `bars` is a Bars but for
    its promise that no (symbol, ts) occurs twice; `timed` tells whether any time could be read.
    """

    where: str
    bars: Bars
    row: NDArray[np.int64]
    quarantine: pa.Table
    timed: bool

    @property
    def read(self) -> int:
        """How many rows there were."""
        return len(self.bars) + int(self.quarantine.num_rows)


@dataclass(frozen=True, slots=True, eq=False)
class Intake:
    """A whole source in memory: its bars ordered by (ts, symbol), its refused rows, the counts."""

    bars: Bars
    quarantine: pa.Table
    counts: Counts


def intake(
    source: Source,
    *,
    interval: str,
    columns: Mapping[str, str] | None = None,
    tz: str | None = None,
    symbol: str | None = None,
    symbols: Iterable[str] | None = None,
) -> Intake:
    """Read a source whole; the arguments and errors are those of `check_source`.

    A row repeated exactly is a duplicate. Other values for the same symbol and time are a
    revision: the later row wins.
    """
    wanted = None if symbols is None else list(symbols)
    batches = list(
        check_source(
            source, interval=interval, columns=columns, tz=tz, symbol=symbol, symbols=wanted
        )
    )
    arrived = concat([checked.bars for checked in batches])
    bars, duplicate, revised = settle(arrived)
    quarantine = pa.concat_tables([checked.quarantine for checked in batches])
    counts = Counts(
        read=len(arrived) + quarantine.num_rows,
        accepted=len(arrived) - duplicate,
        duplicate=duplicate,
        rejected=quarantine.num_rows,
        revised=revised,
    )
    return Intake(bars, quarantine, counts)


def check_source(
    source: Source,
    *,
    interval: str,
    columns: Mapping[str, str] | None = None,
    tz: str | None = None,
    symbol: str | None = None,
    symbols: Iterable[str] | None = None,
) -> Iterator[Checked]:
    """Yield a source's rows checked, a bounded number at a time.

    See `read_source` for the arguments. Raises its errors, and, when all rows were read, BadTime
    where not one time could be understood and NoData where no row is a valid bar or one of
    `symbols` has none.
    """
    wanted = None if symbols is None else [s.strip().upper() for s in symbols]
    read, valid, timed, where = 0, 0, False, ""
    reasons: dict[str, int] = {}
    seen: set[str] = set()
    example = step = ""
    for raw in read_source(
        source, interval=interval, columns=columns, tz=tz, symbol=symbol, symbols=wanted
    ):
        checked = check(raw)
        where = raw.where
        read += checked.read
        valid += len(checked.bars)
        timed = timed or checked.timed
        seen.update(checked.bars.symbols)
        for item in pc.value_counts(checked.quarantine["reason"]).to_pylist():
            reasons[item["values"]] = reasons.get(item["values"], 0) + item["counts"]
        example = example or _first_time(raw)
        step = step or _off_grid(checked)
        yield checked
    _verdict(where, read, valid, timed, reasons, example, step or "check the file", wanted, seen)


def check(raw: RawBatch) -> Checked:
    """Sort a batch's rows into valid bars and refused rows; never raises for what a row holds."""
    n = raw.columns.num_rows
    reasons = np.full(n, None, dtype=object)
    values, missing, unreadable = _numbers_of(raw.columns)
    symbol, no_symbol, bad_symbol = _symbols_of(_one(raw.columns["symbol"]))
    daily = interval_us(raw.interval) % 86_400_000_000 == 0
    time = _one(raw.columns["time"])
    ts = parse_times(time, raw.tz, session=raw.session, daily=daily)
    no_time = _blank(time)
    code, universe = encode(symbol)
    faults = find_faults(ts, values, raw.interval)
    for rule, broken in (
        (Reason.MISSING_FIELD, missing | no_symbol | no_time),
        (Reason.BAD_NUMBER, unreadable),
        (Reason.BAD_TIME, ts == NAT),
        (Reason.BAD_SYMBOL, bad_symbol),
    ):
        reasons[broken & (reasons == None)] = rule  # noqa: E711 - elementwise
    reasons = np.where(reasons == None, faults, reasons)  # noqa: E711 - elementwise
    good = np.asarray(reasons == None)  # noqa: E711 - elementwise
    bars = Bars(raw.interval, universe, code, ts, *(values[name] for name in FIELDS))
    bad = ~good
    refused = _quarantine(raw, symbol, ts, reasons, bad)
    if bad.any():
        bars = compact(bars.take(good))
    return Checked(raw.where, bars, raw.row[good], refused, bool((ts != NAT).any()))


def _verdict(
    where: str,
    read: int,
    valid: int,
    timed: bool,
    reasons: Mapping[str, int],
    example: str,
    step: str,
    wanted: list[str] | None,
    seen: set[str],
) -> None:
    if read and not timed and reasons.get(Reason.BAD_TIME):
        raise BadTime(
            f"{where}: not one of {read} times can be read, the first is {example!r}; expected "
            "ISO 8601 such as 2024-01-31T09:30:00Z, a date, or seconds since 1970"
        )
    if not valid:
        found = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "no rows"
        of = f" of {', '.join(wanted)}" if wanted else ""
        raise NoData(f"{where} has no valid bar{of} (of {read} rows: {found}); {step}")
    absent = [name for name in wanted or () if name not in seen]
    if absent:
        hint = did_you_mean(absent[0], seen)
        raise NoData(f"{where} has no bar of {', '.join(absent)}{hint}; it has {sorted(seen)}")


def _off_grid(checked: Checked) -> str:
    """Return what to do about the first time off the interval's grid; empty where there is none."""
    refused = checked.quarantine
    times = refused.filter(pc.equal(refused["reason"], str(Reason.OFF_GRID)))["ts"]
    if not len(times):
        return ""
    first = np.datetime64(times[0].cast(pa.int64()).as_py(), "us")
    found = np.datetime_as_string(first, unit="auto")
    return (
        f"times must be multiples of the interval {checked.bars.interval} from 1970-01-01T00:00Z, "
        f"found {found}Z: give a shorter --interval, such as 30m for hourly "
        "bars from 09:30, or bars on the grid"
    )


def _one(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _mask(array: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(array.fill_null(False).to_numpy(zero_copy_only=False), bool)


def _blank(column: pa.Array) -> NDArray[np.bool_]:
    blank = np.asarray(column.is_null().to_numpy(zero_copy_only=False), bool)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
        blank |= _mask(pc.is_in(text, _MISSING))
    return blank


def _numbers_of(
    table: pa.Table,
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_], NDArray[np.bool_]]:
    missing = np.zeros(table.num_rows, bool)
    unreadable = np.zeros(table.num_rows, bool)
    values = {}
    for name in FIELDS:
        column = _one(table[name])
        blank = _blank(column)
        values[name], readable = _floats(column)
        missing |= blank
        unreadable |= ~readable & ~blank
    return values, missing, unreadable


def _floats(column: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        numbers, readable = column.cast(pa.float64(), safe=False), None
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
        readable = pc.match_substring_regex(texts, _NUMBER).fill_null(False)
        texts = pc.if_else(readable, texts, pa.scalar(None, pa.string()))
        numbers = pc.utf8_ltrim(texts, "+").cast(pa.float64())
    else:
        numbers = pa.nulls(len(column), pa.float64())
        readable = pa.array(np.zeros(len(column), bool))
    # + 0.0 makes a minus zero a zero: they are equal, and so must be their digests.
    values = numbers.fill_null(np.nan).to_numpy(zero_copy_only=False) + 0.0
    return values, np.ones(len(values), bool) if readable is None else _mask(readable)


def _symbols_of(column: pa.Array) -> tuple[pa.Array, NDArray[np.bool_], NDArray[np.bool_]]:
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    encoded = column.dictionary_encode()
    raw = [text.strip().upper() for text in encoded.dictionary.to_pylist()]
    blank = np.array([text == "" for text in raw] + [True])
    bad = np.array([SYMBOL.fullmatch(text) is None for text in raw] + [False])
    index = encoded.indices.fill_null(len(raw)).to_numpy(zero_copy_only=False)
    names = pa.array([*raw, ""], pa.string())
    return names.take(pa.array(index)), blank[index], bad[index] & ~blank[index]


def _first_time(raw: RawBatch) -> str:
    if not raw.columns.num_rows:
        return ""
    return str(raw.columns["time"][0].as_py())[:60]


def _quarantine(
    raw: RawBatch,
    symbol: pa.Array,
    ts: NDArray[np.int64],
    reasons: NDArray[np.object_],
    bad: NDArray[np.bool_],
) -> pa.Table:
    at = np.flatnonzero(bad)
    times = [None if ts[i] == NAT else int(ts[i]) for i in at]
    names = symbol.take(pa.array(at)).to_pylist()
    lost = raw.malformed
    texts = [_text(row) for row in raw.original.take(pa.array(at)).to_pylist()] if len(at) else []
    columns = [
        pa.array([*raw.row[at].tolist(), *(number for number, _ in lost)], pa.int64()),
        pa.array([*(s or None for s in names), *(None for _ in lost)], pa.string()),
        pa.array([*times, *(None for _ in lost)], pa.int64()).cast(TIMESTAMP),
        pa.array([*map(str, reasons[at]), *(str(Reason.MALFORMED) for _ in lost)], pa.string()),
        pa.array([*texts, *(json.dumps(text) for _, text in lost)], pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=QUARANTINE_SCHEMA)


def _text(row: Mapping[str, Any]) -> str:
    return json.dumps(row, default=str)[:_LONGEST_TEXT]
