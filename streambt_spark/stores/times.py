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
        raise BadTime(f"time {text!r} cannot be read; write 2024-01-31 or 2024-01-31T09:30:00Z")
    return ts


def parse_times(column: pa.Array, tz: str, *, session: bool, daily: bool) -> NDArray[np.int64]:
    """Return a column's times as UTC microseconds, NAT where one cannot be read.

    Timestamps, dates, ISO 8601 texts and epoch numbers (s, ms, µs, ns by magnitude; eight digits
    are YYYYMMDD) are understood; without a zone they are times of `tz`. A trading day, which is a
    value of a `session` column, a date, or midnight of any zone in `daily` bars, is midnight UTC
    of that date. A time that a change of clocks makes ambiguous cannot be read.
    """
    kind = column.type
    if pa.types.is_date(kind):
        return _micros(column.cast(pa.timestamp("s")))
    if pa.types.is_timestamp(kind):
        return _stamps(column, tz, session=session, daily=daily)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = column.cast(pa.float64(), safe=False)
        exact = column.cast(pa.int64()) if pa.types.is_integer(kind) else None
        return _floor(_epoch(numbers, exact), session)
    try:
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.full(len(column), NAT)
    return _texts(texts, tz, session=session, daily=daily)


def _local_zone() -> str:
    link = Path("/etc/localtime")
    target = str(link.resolve()) if link.is_symlink() else ""
    return os.environ.get("TZ") or target.partition("zoneinfo/")[2] or "UTC"


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


def _epoch(numbers: pa.Array, exact: pa.Array | None) -> NDArray[np.int64]:
    values = numbers.to_numpy(zero_copy_only=False).astype(np.float64)
    size = np.abs(values)
    result = np.full(len(values), NAT)
    below = 0.0
    for limit, factor in _UNITS:
        unit = (size >= below) & (size < limit)
        below = limit
        if exact is None or factor < 1:
            result[unit] = np.rint(values[unit] * factor).astype(np.int64)
        else:
            whole = exact.fill_null(0).to_numpy(zero_copy_only=False)
            result[unit] = whole[unit] * np.int64(factor)
    return _compact_dates(values, result)


def _compact_dates(values: NDArray[np.float64], ts: NDArray[np.int64]) -> NDArray[np.int64]:
    compact = (values >= 19_000_101) & (values <= 29_991_231) & (values == np.floor(values))
    if compact.any():
        texts = pd.Series(values[compact].astype(np.int64).astype(str))
        days = pd.to_datetime(texts, format="%Y%m%d", errors="coerce")
        ts[compact] = days.to_numpy().astype("M8[us]").view(np.int64)
    return ts


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
        result[number] = _floor(_epoch(values.cast(pa.float64()), whole), session)
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
