"""Calendars: sessions by local date, and the conventional number of them in a year."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from streambt_spark.calendars import Calendar
from streambt_spark.errors import ConfigError


def at(*times: str) -> np.ndarray:
    """Return UTC microseconds of ISO times."""
    return np.array(times, "datetime64[us]").astype(np.int64)


def day(date: str) -> int:
    """Return a date's number of days since 1970-01-01."""
    return int(np.datetime64(date, "D").astype(int))


@pytest.mark.parametrize(
    ("name", "zone", "sessions"),
    [
        ("24/7", "UTC", 365),
        ("XNYS", "America/New_York", 252),
        ("NASDAQ", "America/New_York", 252),
        ("XLON", "Europe/London", 252),
        ("XTKS", "Asia/Tokyo", 245),
    ],
)
def test_named(name: str, zone: str, sessions: int) -> None:
    """A calendar is found by its code or alias, with its zone and its sessions in a year."""
    calendar = Calendar.named(name)
    assert (calendar.zone, calendar.sessions_per_year) == (zone, sessions)


def test_unknown_name() -> None:
    """An unknown calendar is refused with what was meant."""
    with pytest.raises(ConfigError, match=r"'XNYSE' is not known \(did you mean XNYS\?\)"):
        Calendar.named("XNYSE")


@pytest.mark.parametrize(
    ("symbols", "name"),
    [(["AAPL", "SPY"], "XNYS"), (["@BTCUSD"], "24/7"), (["AAPL", "@BTCUSD"], "24/7"), ([], "XNYS")],
)
def test_default_for(symbols: list[str], name: str) -> None:
    """Where anything trades on every day, every day is a session."""
    assert Calendar.default_for(symbols).name == name


@pytest.mark.parametrize(
    ("interval", "stocks", "crypto"),
    [
        ("1m", 252, 365),
        ("1h", 252, 365),
        ("24h", 252, 365),
        ("1d", 252, 365),
        ("25h", 252, 350),
        ("36h", 243, 243),
        ("47h", 186, 186),
        ("2d", 182, 182),
        ("1w", 52, 52),
        ("7d", 52, 52),
        ("30d", 12, 12),
        ("52w", 1, 1),
    ],
)
def test_periods_per_year(interval: str, stocks: int, crypto: int) -> None:
    """Intraday and daily returns are made once a session, longer ones once a bar."""
    assert Calendar.named("XNYS").periods_per_year(interval) == stocks
    assert Calendar.named("24/7").periods_per_year(interval) == crypto


def test_daily_session_is_the_utc_date() -> None:
    """A daily bar at midnight UTC belongs to that date, not to the evening before in New York."""
    assert Calendar.named("XNYS").session_of(at("2021-03-31T00:00"), "1d").tolist() == [
        day("2021-03-31")
    ]


def test_intraday_session_is_the_local_date() -> None:
    """Half past midnight UTC is still the evening before in New York, in winter and summer."""
    ts = at("2021-01-05T04:59", "2021-01-05T05:00", "2021-07-06T03:59", "2021-07-06T04:00")
    expected = ["2021-01-04", "2021-01-05", "2021-07-05", "2021-07-06"]
    assert Calendar.named("XNYS").session_of(ts, "1m").tolist() == [day(d) for d in expected]


def test_clock_change_keeps_sessions_apart() -> None:
    """On the day the clocks go forward the date changes at 05:00 UTC and next day at 04:00."""
    ts = at("2021-03-14T04:59", "2021-03-14T05:00", "2021-03-15T03:59", "2021-03-15T04:00")
    expected = ["2021-03-13", "2021-03-14", "2021-03-14", "2021-03-15"]
    assert Calendar.named("XNYS").session_of(ts, "1m").tolist() == [day(d) for d in expected]


def test_futures_evening_belongs_to_the_next_session() -> None:
    """Chicago's futures open at 17:00 for the next day."""
    ts = at("2021-01-05T22:59", "2021-01-05T23:00")  # 16:59 and 17:00 in Chicago
    expected = [day("2021-01-05"), day("2021-01-06")]
    assert Calendar.named("CME").session_of(ts, "1m").tolist() == expected


def test_clock_changes_are_known_beyond_2037() -> None:
    """The zone's rule goes on where its table ends: summer time in 2040 as in 2021."""
    ts = at("2040-01-05T04:59", "2040-01-05T05:00", "2040-07-06T03:59", "2040-07-06T04:00")
    expected = ["2040-01-04", "2040-01-05", "2040-07-05", "2040-07-06"]
    assert Calendar.named("XNYS").session_of(ts, "1m").tolist() == [day(d) for d in expected]


def test_times_before_1970() -> None:
    """Sessions before the epoch have negative numbers, rounded down."""
    assert Calendar.named("24/7").session_of(at("1969-12-31T23:00"), "1h").tolist() == [-1]


def test_import_is_light() -> None:
    """The usual calendars are there without loading exchange_calendars, which takes a second."""
    code = (
        "import sys; from streambt_spark.calendars import Calendar; Calendar.named('XNYS');"
        "print('exchange_calendars' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
