"""Trading calendars: which session a slice belongs to, and how many sessions make a year.

A session is one day of trading, and performance is measured from session to session. Daily bars
carry their session as their UTC date; the session of an intraday bar is its local date at the
exchange. Where trading opens on the evening before (CME futures), the evening counts to the next
day. Days are numbered from 1970-01-01.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from streambt_spark.core.market.bars import DAY_US, SECOND_US, interval_us
from streambt_spark.core.market.sessions import Sessions
from streambt_spark.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_YEAR_DAYS = 365
_COUNTED_YEARS = (2021, 2024)
"""Sessions are counted over these years, a leap year among them: fixed, so that a figure never
changes with the day it is computed on. Every calendar knows them."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_CLOCK_YEARS = (1800, 2263)
"""Bars are of 1678 to 2262, and no clock was ever changed before railways came."""
_SECOND = dt.timedelta(seconds=1)
_PROBE = dt.timedelta(days=3)
"""Time between two looks at a clock: none was ever changed twice in less than 3.9 days."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """A calendar: `sessions_per_year` is the conventional number, 252 for New York, 365 for 24/7.

    `evening_us` is how long before local midnight a session opens, 0 for most exchanges.
    """

    name: str
    zone: str
    sessions_per_year: int
    evening_us: int = 0

    @classmethod
    def named(cls, name: str) -> Calendar:
        """Return the calendar of an exchange's code, such as XNYS, or `24/7`.

        Raises ConfigError where no such calendar exists.
        """
        return _BUILT_IN.get(name) or _exchange(name)

    @classmethod
    def default_for(cls, symbols: Iterable[str]) -> Calendar:
        """Return 24/7 where any symbol never closes (crypto, `@BTCUSD`), else New York."""
        return ALWAYS if any(symbol.startswith("@") for symbol in symbols) else NEW_YORK

    def periods_per_year(self, interval: str) -> float:
        """Return how many returns a year has: one a session, or one a bar longer than a day."""
        days = interval_us(interval) / DAY_US
        if days <= 1:
            return self.sessions_per_year
        return min(self.sessions_per_year, round(_YEAR_DAYS / days))

    @property
    def sessions(self) -> Sessions:
        """The rule by which the core tells sessions apart."""
        return _sessions(self.zone, self.evening_us)

    def session_of(self, ts: NDArray[np.int64], interval: str) -> NDArray[np.int64]:
        """Return the day number of the session of each bar's start in UTC microseconds."""
        return self.sessions.session_of(ts, interval_us(interval))


ALWAYS = Calendar("24/7", "UTC", 365)
NEW_YORK = Calendar("XNYS", "America/New_York", 252)
_BUILT_IN = {calendar.name: calendar for calendar in (ALWAYS, NEW_YORK)}


def _exchange(name: str) -> Calendar:
    import exchange_calendars as exchanges  # slow to import, and most runs do not need it

    known = exchanges.get_calendar_names(include_aliases=True)
    if name not in known:
        raise ConfigError(
            f"calendar {name!r} is not known{did_you_mean(name, known)};"
            " use 24/7, XNYS or another code of exchange_calendars"
        )
    code = exchanges.resolve_alias(name)
    if code in _BUILT_IN:
        return _BUILT_IN[code]
    first, last = _COUNTED_YEARS
    calendar = exchanges.get_calendar(code, start=f"{first}-01-01", end=f"{last}-12-31")
    per_year = round(len(calendar.sessions) / (last - first + 1))
    return Calendar(code, str(calendar.tz), per_year, _evening_us(calendar))


def _evening_us(exchange: Any) -> int:
    """Return how long before midnight the exchange opens, from the full hour of its opening."""
    if exchange.open_offset >= 0:
        return 0
    opens: int = exchange.open_times[-1][1].hour
    return (24 - opens) * 3600 * SECOND_US


@cache
def _sessions(zone: str, evening_us: int) -> Sessions:
    """Return the sessions of a time zone over the years that bars may be of."""
    clock = ZoneInfo(zone)
    at, last = (dt.datetime(year, 1, 1, tzinfo=dt.UTC) for year in _CLOCK_YEARS)
    changes, offsets = [], [_offset(clock, at)]
    while at < last:
        before, at = at, at + _PROBE
        if _offset(clock, at) != offsets[-1]:
            changes.append(_change(clock, before, at) - _EPOCH)
            offsets.append(_offset(clock, at))
    return Sessions(_microseconds(changes), _microseconds(offsets), evening_us)


def _change(clock: dt.tzinfo, before: dt.datetime, after: dt.datetime) -> dt.datetime:
    """Return the second at which the offset became what it is at `after`."""
    while (gap := (after - before) // _SECOND) > 1:
        middle = before + gap // 2 * _SECOND
        if _offset(clock, middle) == _offset(clock, after):
            after = middle
        else:
            before = middle
    return after


def _offset(clock: dt.tzinfo, at: dt.datetime) -> dt.timedelta:
    offset = at.astimezone(clock).utcoffset()
    assert offset is not None
    return offset


def _microseconds(spans: list[dt.timedelta]) -> NDArray[np.int64]:
    return np.array(spans, "timedelta64[us]").astype(np.int64)
