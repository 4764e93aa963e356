"""Sessions against the clocks of the time-zone database, at random times of six centuries."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import exchange_calendars
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streambt_spark.calendars import Calendar

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
YEARS = [int(np.datetime64(f"{year}-01-01", "s").astype(int)) for year in (1678, 2262)]
ZONES = sorted(
    {
        str(exchange_calendars.calendar_utils._default_calendar_factories[name].tz)
        for name in exchange_calendars.get_calendar_names(include_aliases=False)
    }
    # Clocks that were changed twice within days.
    | {"Africa/Freetown", "America/Noronha", "Asia/Gaza", "Africa/El_Aaiun"}
)


def local_date(zone: str, seconds: int) -> int:
    """Return the day number of a time's local date, by the standard library."""
    local = (EPOCH + dt.timedelta(seconds=seconds)).astimezone(ZoneInfo(zone))
    return local.date().toordinal() - EPOCH.date().toordinal()


@given(st.sampled_from(ZONES), st.lists(st.integers(*YEARS), min_size=1, max_size=50))
def test_any_time_of_any_zone(zone: str, seconds: list[int]) -> None:
    """The session is the local date of the standard library's clock."""
    found = Calendar("X", zone, 252).session_of(np.array(seconds) * 1_000_000, "1m")
    assert found.tolist() == [local_date(zone, second) for second in seconds]


@pytest.mark.parametrize("zone", ZONES)
def test_around_every_change(zone: str) -> None:
    """The offset changes at the same second as in the standard library, from one to the other."""
    rule = Calendar("X", zone, 252).sessions
    clock = ZoneInfo(zone)
    around = np.add.outer(rule.changes // 1_000_000, [-1, 0]).ravel()
    offsets = np.repeat(rule.offsets, 2)[1:-1] // 1_000_000
    found = [
        (EPOCH + dt.timedelta(seconds=s)).astimezone(clock).utcoffset() for s in around.tolist()
    ]
    assert found == [dt.timedelta(seconds=s) for s in offsets.tolist()]


@pytest.mark.parametrize("zone", ZONES)
def test_no_change_is_missed(zone: str) -> None:
    """On each day from 1880 to 2100, beyond the database's own table, the offset is the clock's."""
    rule, clock = Calendar("X", zone, 252).sessions, ZoneInfo(zone)
    first = (dt.datetime(1880, 1, 1, tzinfo=dt.UTC) - EPOCH).days
    days = range(first, first + 220 * 365)
    at = np.searchsorted(rule.changes, np.array(days) * 86_400_000_000, side="right")
    found = [(EPOCH + dt.timedelta(days=day)).astimezone(clock).utcoffset() for day in days]
    assert np.array_equal(np.array(found, "timedelta64[us]").astype(np.int64), rule.offsets[at])
