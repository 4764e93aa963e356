"""Raw rows to valid bars and quarantine, with nothing lost on the way."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.core.market.bars import (
    DAY_US,
    FIELDS,
    SYMBOL,
    Bars,
    compact,
    concat,
    interval_us,
    settle,
    symbol_name,
)
from streambt_spark.core.market.faults import Reason, find_faults
from streambt_spark.stores import cells
from streambt_spark.stores.cells import whole
from streambt_spark.stores.sources import RawBatch, Source, read_source
from streambt_spark.stores.survey import Survey, rejected_share
from streambt_spark.stores.tables import TIMESTAMP, encode
from streambt_spark.stores.times import NAT, parse_times

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Unpack

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
LOUD = 0.01
"""A share of rejected rows above which they are warned of: one bad row of many is no news."""


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
    its promise that no (symbol, ts) occurs twice; `timed` tells whether any time could be read,
    `outside` how many rows were of another time than was wanted.
    """

    where: str
    bars: Bars
    row: NDArray[np.int64]
    quarantine: pa.Table
    timed: bool
    outside: int = 0

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

    def warning(self) -> str:
        """Return what is to be said of the rejected rows; empty where they are at most 1 %."""
        counts = self.counts
        if counts.rejected <= LOUD * counts.read:
            return ""
        reasons = Counter(self.quarantine["reason"].to_pylist()).most_common()
        text = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
        return f"{rejected_share(counts.rejected, counts.read)} were rejected: {text}"


class Options(TypedDict, total=False):
    """How a source is read; see `read_source` for the first four."""

    columns: Mapping[str, str] | None
    tz: str | None
    symbol: str | None
    symbols: Iterable[str] | None
    start: int | None
    """Rows before this time (UTC µs) are not read, like those of symbols that are not wanted."""
    end: int | None
    """Nor are rows from this time on."""
    allow_rejected: bool
    """Whether more than half of the rows may be rejected."""


def intake(source: Source, *, interval: str, **options: Unpack[Options]) -> Intake:
    """Read a source whole; the options and errors are those of `survey`.

    A row repeated exactly is a duplicate. Other values for the same symbol and time are a
    revision: the later row wins.
    """
    batches = list(_batches(source, interval, options))
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


def survey(source: Source, *, interval: str, **options: Unpack[Options]) -> None:
    """Look at all rows of a source, and raise what is wrong with it as a whole.

    Raises the errors of `read_source`, BadTime where not one time could be understood, NoData where
    no row is a valid bar or one of `symbols` has none, DataError where the bars are not as far
    apart as the interval says (see `Spacing`) and where more than half of the rows are rejected.
    """
    for _ in _batches(source, interval, options):
        pass


def check_source(
    source: Source, *, interval: str, surveyed: bool = False, **options: Unpack[Options]
) -> Iterator[Checked]:
    """Yield a source's rows checked, a bounded number at a time.

    The source is surveyed first, so that nothing of one that is refused comes; with `surveyed` that
    was done before. Raises the errors of `survey`.
    """
    if options.get("symbols") is not None:
        options["symbols"] = list(options["symbols"] or ())
    if not surveyed:
        survey(source, interval=interval, **options)
    yield from _batches(source, interval, options)


def _batches(source: Source, interval: str, options: Options) -> Iterator[Checked]:
    """Yield a source's rows checked; raises what is wrong with them when all were read."""
    symbols = options.get("symbols")
    names = None if symbols is None else [symbol_name(s) for s in symbols]
    tally = Survey(interval, names, options.get("allow_rejected", False))
    for raw in read_source(
        source,
        interval=interval,
        columns=options.get("columns"),
        tz=options.get("tz"),
        symbol=options.get("symbol"),
        symbols=names,
    ):
        checked = check(raw, options.get("start"), options.get("end"))
        tally.add(raw, checked)
        yield checked
    tally.judge()


def check(raw: RawBatch, start: int | None = None, end: int | None = None) -> Checked:
    """Sort a batch's rows into valid bars and refused rows; never raises for what a row holds.

    Rows with a time outside start ≤ ts < end (UTC µs) are left out.
    """
    daily = interval_us(raw.interval) % DAY_US == 0
    time = whole(raw.columns["time"])
    ts = parse_times(time, raw.tz, session=raw.session, daily=daily)
    inside = _inside(ts, start, end)
    outside = len(ts) - int(np.count_nonzero(inside))
    if outside:
        raw, ts, time = raw.where_rows(inside), ts[inside], time.filter(pa.array(inside))
    n = raw.columns.num_rows
    reasons = np.full(n, None, dtype=object)
    values, missing, unreadable = _numbers_of(raw.columns)
    symbol, no_symbol, bad_symbol = _symbols_of(whole(raw.columns["symbol"]))
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
    timed = bool((ts != NAT).any())
    return Checked(raw.where, bars, raw.row[good], refused, timed, outside)


def _inside(ts: NDArray[np.int64], start: int | None, end: int | None) -> NDArray[np.bool_]:
    """Return the rows to read: those in the range, and those whose time cannot be told."""
    inside: NDArray[np.bool_] = np.ones(len(ts), bool)
    if start is not None:
        inside &= ts >= start
    if end is not None:
        inside &= ts < end
    inside |= ts == NAT
    return inside


def _mask(array: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(array.fill_null(False).to_numpy(zero_copy_only=False), bool)


def _blank(column: pa.Array) -> NDArray[np.bool_]:
    blank = np.asarray(column.is_null().to_numpy(zero_copy_only=False), bool)
    if pa.types.is_string(column.type):
        text = pc.utf8_lower(pc.utf8_trim_whitespace(column))
        blank |= _mask(pc.is_in(text, _MISSING))
    return blank


def _numbers_of(
    table: pa.Table,
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_], NDArray[np.bool_]]:
    missing = np.zeros(table.num_rows, bool)
    unreadable = np.zeros(table.num_rows, bool)
    values = {}
    for name in FIELDS:
        column = whole(table[name])
        blank = _blank(column)
        values[name], readable = _floats(column)
        missing |= blank
        unreadable |= ~readable & ~blank
    return values, missing, unreadable


def _floats(column: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        numbers, readable = column.cast(pa.float64(), safe=False), None
    elif pa.types.is_string(kind):
        texts = pc.utf8_trim_whitespace(column)
        readable = pc.match_substring_regex(texts, _NUMBER).fill_null(False)
        texts = pc.if_else(readable, texts, pa.scalar(None, pa.string()))
        numbers = pc.utf8_ltrim(texts, "+").cast(pa.float64())
    else:
        numbers = pa.nulls(len(column), pa.float64())
        readable = pa.array(np.zeros(len(column), bool))
    # + 0.0 makes a minus zero a zero: they are equal, and so must be their digests.
    with np.errstate(invalid="ignore"):  # of a NaN that warns
        values = numbers.fill_null(np.nan).to_numpy(zero_copy_only=False) + 0.0
    return values, np.ones(len(values), bool) if readable is None else _mask(readable)


def _symbols_of(column: pa.Array) -> tuple[pa.Array, NDArray[np.bool_], NDArray[np.bool_]]:
    encoded = column.dictionary_encode()
    raw = [symbol_name(text) for text in encoded.dictionary.to_pylist()]
    blank = np.array([text == "" for text in raw] + [True])
    bad = np.array([SYMBOL.fullmatch(text) is None for text in raw] + [False])
    index = encoded.indices.fill_null(len(raw)).to_numpy(zero_copy_only=False)
    names = pa.array([*raw, ""], pa.string())
    return names.take(pa.array(index)), blank[index], bad[index] & ~blank[index]


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
    texts = _texts(raw.original.take(pa.array(at))) if len(at) else []
    columns = [
        pa.array([*raw.row[at].tolist(), *(number for number, _ in lost)], pa.int64()),
        pa.array([*(s or None for s in names), *(None for _ in lost)], pa.string()),
        pa.array([*times, *(None for _ in lost)], pa.int64()).cast(TIMESTAMP),
        pa.array([*map(str, reasons[at]), *(str(Reason.MALFORMED) for _ in lost)], pa.string()),
        pa.array([*texts, *(json.dumps(text) for _, text in lost)], pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=QUARANTINE_SCHEMA)


def _texts(rows: pa.Table) -> list[str]:
    """Return rows as JSON, cut where they are very long."""
    columns = [cells.values(column) for column in rows.columns]
    return [
        json.dumps(dict(zip(rows.column_names, row, strict=True)), default=str)[:_LONGEST_TEXT]
        for row in zip(*columns, strict=True)
    ]
