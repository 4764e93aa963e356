"""Times as users write them, to UTC microseconds."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.core.market.bars import DAY_US
from streambt_spark.core.market.faults import EARLIEST_US, LATEST_US, out_of_range
from streambt_spark.errors import BadTime, ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAT = np.iinfo(np.int64).min
"""Stands for a time that cannot be read."""

_MIDNIGHT = r"^\d{4}-\d{2}-\d{2}([T ]00:00(:00(\.0+)?)?([Zz]|[+-]\d{2}:?\d{2})?)?$"
_ZONE = r"\d[T ].*([Zz]|[+-]\d{2}(:?\d{2})?)$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_NUMBER = r"^-?\d+(\.\d+)?$"
_UNITS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (9.2e18, 1e-3))
"""Epoch numbers below the first value count by the second, in microseconds: s, ms, µs, ns."""

_SPELLED = (8, 12, 14)
"""How many digits a number has that spells a date: YYYYMMDD, with HHMM, with HHMMSS."""

_YEARS = (1678, 2263)
_MINUTE_S = 60
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def zone(name: str | None) -> str:
    """Return a time zone's name, the machine's own for None; raises ConfigError if unknown."""
    name = name or _local_zone()
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"time zone {name!r} is not known; write one such as America/New_York or UTC"
        ) from error
    return name


def moment(value: str | dt.datetime | dt.date, tz: str | None = None) -> int:
    """Return one time as UTC microseconds; a bare date is its midnight UTC.

    Without a zone it is a time of `tz`, the machine's own by default. Raises BadTime.
    """
    text = value if isinstance(value, str) else value.isoformat()
    ts = int(parse_times(pa.array([text]), zone(tz), session=False, daily=False)[0])
    if ts == NAT:
        raise BadTime(
            f"time {text!r} cannot be read; expected a time from 1678 to 2262, such as 2024-01-31 "
            "or 2024-01-31T09:30:00Z"
        )
    return ts


def parse_times(column: pa.Array, tz: str, *, session: bool, daily: bool) -> NDArray[np.int64]:
    """Return a column's times as UTC microseconds, NAT where one cannot be read or be a bar's.

    Timestamps, dates, ISO 8601 texts and numbers are understood; without a zone they are times of
    `tz`. Numbers, and texts of digits, are epochs (s, ms, µs, ns by magnitude), but for those that
    spell a date: of 14 digits YYYYMMDDHHMMSS, and of 8 or 12 YYYYMMDD or YYYYMMDDHHMM where at
    least half of the column's numbers of that length do. A trading day, which is a value of a
    `session` column, a date, or midnight of any zone in `daily` bars, is midnight UTC of that date.
    A time that a change of clocks makes ambiguous cannot be read.
    """
    ts = _read(column, tz, session=session, daily=daily)
    return np.where(out_of_range(ts), NAT, ts)


def _read(column: pa.Array, tz: str, *, session: bool, daily: bool) -> NDArray[np.int64]:
    kind = column.type
    if pa.types.is_date(kind):
        return _micros(_bounded(column).cast(pa.timestamp("s")))
    if pa.types.is_timestamp(kind):
        return _stamps(_bounded(column), tz, session=session, daily=daily)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        exact = column.cast(pa.int64(), safe=False) if pa.types.is_integer(kind) else None
        return _numbers(column.cast(pa.float64(), safe=False), exact, tz, session, daily)
    try:
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.full(len(column), NAT)
    return _texts(texts, tz, session=session, daily=daily)


def _local_zone() -> str:
    link = Path("/etc/localtime")
    target = str(link.resolve()) if link.is_symlink() else ""
    return os.environ.get("TZ") or target.partition("zoneinfo/")[2] or "UTC"


def _bounded(column: pa.Array) -> pa.Array:
    """Return times with null for those so far away that a conversion could wrap them."""
    kind = column.type
    if pa.types.is_date32(kind):
        counts, per_day = column.cast(pa.int32()).cast(pa.int64()), 1
    else:
        unit = "ms" if pa.types.is_date64(kind) else kind.unit
        counts, per_day = column.cast(pa.int64()), 86_400 * _PER_SECOND[unit]
    days = EARLIEST_US // DAY_US - 1, LATEST_US // DAY_US + 2  # a zone may shift a time by a day
    if per_day * days[1] > np.iinfo(np.int64).max:  # nanoseconds cannot be so far away
        return column
    low, high = (day * per_day for day in days)
    inside = pc.and_(pc.greater_equal(counts, low), pc.less_equal(counts, high))
    return pc.if_else(inside, column, pa.scalar(None, kind))


def _micros(column: pa.Array) -> NDArray[np.int64]:
    zoned = column.type.tz is not None
    target = pa.timestamp("us", "UTC") if zoned else pa.timestamp("us")
    whole = column.cast(target, safe=False).cast(pa.int64())
    return np.asarray(whole.fill_null(NAT).to_numpy(zero_copy_only=False), np.int64)


def _floor(ts: NDArray[np.int64], session: bool) -> NDArray[np.int64]:
    return np.where(ts == NAT, NAT, ts - ts % DAY_US) if session else ts


def _stamps(column: pa.Array, tz: str, *, session: bool, daily: bool) -> NDArray[np.int64]:
    wall = _micros(pc.local_timestamp(column) if column.type.tz else column)
    day = (wall != NAT) & (session | (daily & (wall % DAY_US == 0)))
    utc = _micros(column) if column.type.tz else _localised(wall, ~day, tz)
    return np.where(day, wall - wall % DAY_US, utc)


def _localised(wall: NDArray[np.int64], where: NDArray[np.bool_], tz: str) -> NDArray[np.int64]:
    if tz == "UTC" or not where.any():
        return wall
    result = wall.copy()
    index = pd.DatetimeIndex(wall[where].astype("M8[us]"))
    stamps = index.tz_localize(tz, ambiguous="NaT", nonexistent="NaT").tz_convert("UTC")
    result[where] = stamps.tz_localize(None).to_numpy().astype("M8[us]").view(np.int64)
    return result


def _numbers(
    numbers: pa.Array, exact: pa.Array | None, tz: str, session: bool, daily: bool
) -> NDArray[np.int64]:
    values = numbers.to_numpy(zero_copy_only=False).astype(np.float64)
    ts = _epoch(values, exact)
    ts = _floor(ts, session)
    for digits in _SPELLED:
        low, high = (year * 10 ** (digits - 4) for year in _YEARS)
        here = (values >= low) & (values < high) & (values == np.floor(values))
        if here.any():
            wall = _spelled(values[here].astype(np.int64), digits)
            read = wall != NAT
            if digits == max(_SPELLED) or 2 * np.count_nonzero(read) >= len(read):
                day = read & (session | (digits == min(_SPELLED)) | (daily & (wall % DAY_US == 0)))
                utc = _localised(wall, read & ~day, tz)
                ts[here] = np.where(day, wall - wall % DAY_US, utc)
            else:  # epochs of bars are whole minutes; else it may be a misspelled date
                unit = 1 if digits == min(_SPELLED) else 1_000
                ts[here] = np.where(values[here] % (_MINUTE_S * unit) == 0, ts[here], NAT)
    return ts


def _epoch(values: NDArray[np.float64], exact: pa.Array | None) -> NDArray[np.int64]:
    size = np.abs(values)
    whole = None if exact is None else exact.fill_null(0).to_numpy(zero_copy_only=False)
    result = np.full(len(values), NAT)
    below = 0.0
    for limit, factor in _UNITS:
        unit = (size >= below) & (size < limit)
        below = limit
        if whole is None:
            result[unit] = np.rint(values[unit] * factor).astype(np.int64)
        elif factor < 1:
            result[unit] = whole[unit] // round(1 / factor)
        else:
            result[unit] = whole[unit] * np.int64(factor)
    return result


def _spelled(numbers: NDArray[np.int64], digits: int) -> NDArray[np.int64]:
    """Return the microseconds since 1970 that YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS spell."""
    full = numbers * 10 ** (14 - digits)
    year, month, day = full // 10**10, full // 10**8 % 100, full // 10**6 % 100
    hour, minute, second = full // 10**4 % 100, full // 10**2 % 100, full % 100
    months = ((year - 1970) * 12 + month - 1).astype("M8[M]")
    days = months.astype("M8[D]") + (day - 1)
    valid = (month >= 1) & (month <= 12) & (day >= 1) & (days.astype("M8[M]") == months)
    valid &= (hour < 24) & (minute < 60) & (second < 60)
    seconds = days.astype(np.int64) * 86_400 + hour * 3_600 + minute * 60 + second
    return np.where(valid, seconds * 1_000_000, NAT)


def _texts(texts: pa.Array, tz: str, *, session: bool, daily: bool) -> NDArray[np.int64]:
    pattern = r"^\d{4}-\d{2}-\d{2}([T ].*)?$" if session else _MIDNIGHT if daily else _DATE
    day = _matches(texts, pattern)
    if day.all() and len(day):
        return _arrow(pc.utf8_slice_codeunits(texts, 0, 10), zoned=False)
    zoned = ~day & _matches(texts, _ZONE)
    number = ~day & _matches(texts, _NUMBER)
    naive = ~day & ~zoned & ~number
    result = np.full(len(texts), NAT)
    if day.any():
        result[day] = _arrow(pc.utf8_slice_codeunits(_pick(texts, day), 0, 10), zoned=False)
    if zoned.any():
        result[zoned] = _floor(_arrow(_pick(texts, zoned), zoned=True), session)
    if number.any():
        values = _pick(texts, number)
        fraction = pc.any(pc.match_substring(values, ".")).as_py()
        exact = None if fraction or pc.max(pc.utf8_length(values)).as_py() > 18 else values
        whole = None if exact is None else exact.cast(pa.int64())
        result[number] = _numbers(values.cast(pa.float64()), whole, tz, session, daily)
    if naive.any():
        wall = _arrow(_pick(texts, naive), zoned=False)
        result[naive] = _floor(_localised(wall, wall != NAT, tz), session)
    return result


def _pick(texts: pa.Array, mask: NDArray[np.bool_]) -> pa.Array:
    return texts.filter(pa.array(mask))


def _matches(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    hits = pc.match_substring_regex(texts, pattern).fill_null(False)
    return np.asarray(hits.to_numpy(zero_copy_only=False), bool)


def _arrow(texts: pa.Array, *, zoned: bool) -> NDArray[np.int64]:
    try:
        return _micros(texts.cast(pa.timestamp("us", "UTC" if zoned else None)))
    except pa.ArrowInvalid:  # one text in another form: the slower parser takes each by itself
        stamps = pd.to_datetime(
            pd.Series(texts.to_pylist(), dtype="object"),
            format="ISO8601",
            utc=True,
            errors="coerce",
        )
        return stamps.dt.tz_localize(None).to_numpy().astype("M8[us]").view(np.int64).copy()
