"""Whether bars are as far apart as their interval says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streambt_spark.errors import DataError
from streambt_spark.stores.intake import Counts, intake, survey
from streambt_spark.stores.spacing import Spacing

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000


def misfit(times: list[str] | pd.DatetimeIndex, interval: str) -> str:
    """Return what a symbol's times say of an interval."""
    ts = pd.DatetimeIndex(times).to_numpy("M8[us]").astype(np.int64)
    spacing = Spacing()
    spacing.add(["A"], np.zeros(len(ts), np.int32), ts)
    return spacing.misfit(interval)


def sessions(step: str, start: str = "14:30", end: str = "20:59") -> pd.DatetimeIndex:
    """Return the times of ten trading days with their nights and weekends."""
    days = pd.bdate_range("2024-03-01", periods=10, tz="UTC")
    times = [pd.date_range(f"{d:%F} {start}", f"{d:%F} {end}", freq=step) for d in days]
    return times[0].append(times[1:])


@pytest.mark.parametrize(
    ("times", "interval"),
    [
        (sessions("1min"), "1m"),
        (sessions("5min"), "5m"),
        (sessions("1h"), "30m"),  # hourly from 14:30 has no longer interval on its grid
        (pd.bdate_range("2024-01-01", periods=60), "1d"),
        (pd.date_range("2024-01-01", periods=60, freq="W-MON"), "1w"),
        (pd.date_range("2024-01-05", periods=60, freq="W-FRI"), "7d"),
        (pd.date_range("2024-01-01", periods=24, freq="MS"), "30d"),
        (pd.date_range("2024-01-03", periods=24, freq="36h"), "36h"),
        (sessions("1min")[::7].append(sessions("1min")[3::11]), "1m"),  # trades now and then
        (pd.bdate_range("2024-01-01", periods=99)[[1, 2, 5, 6, 9, 15, 16, 22, 30, 33]], "1d"),
    ],
)
def test_what_fits(times: pd.DatetimeIndex, interval: str) -> None:
    """Nights, weekends, holidays, months of any length and silent symbols fit."""
    assert misfit(times.sort_values(), interval) == ""


@pytest.mark.parametrize(
    ("times", "interval", "apart", "advice"),
    [
        (pd.bdate_range("2024-01-01", periods=60), "1m", "1d", "1d"),
        (pd.bdate_range("2024-01-01", periods=60), "1h", "1d", "1d"),
        (pd.bdate_range("2024-01-01", periods=60), "1w", "1d", "1d"),
        (pd.bdate_range("2024-01-01", periods=60), "2d", "1d", "1d"),
        (pd.date_range("2024-01-05", periods=60, freq="W-FRI"), "1d", "1w", "1w"),
        (pd.date_range("2024-01-01", periods=24, freq="MS"), "1d", "31d", "31d"),
        (sessions("1min"), "1d", "1m", "1m"),
        (sessions("1min"), "2m", "1m", "1m"),
        (sessions("5min"), "1m", "5m", "5m"),
        (sessions("1h", "14:00"), "1m", "1h", "1h"),
        (sessions("1h"), "1m", "1h", "30m"),
        (pd.date_range("2024-01-03", periods=24, freq="36h"), "1h", "36h", "36h"),
    ],
)
def test_what_does_not_fit(times: pd.DatetimeIndex, interval: str, apart: str, advice: str) -> None:
    """Both values are told, and the interval that would fit."""
    told = misfit(times, interval)
    assert told == (
        f"the bars of A are {apart} apart (the median of {len(times) - 1:,} gaps), the interval "
        f"given is {interval}: give --interval {advice}, or bars of that interval"
    )


def test_days_at_another_hour_are_told_how_to_map_them() -> None:
    """Daily bars stamped with their close are days of a session column."""
    told = misfit(pd.date_range("2024-01-01T21:00", periods=30), "1h")
    assert told.endswith("is 1h: map their time as the trading day, session=…, and give 1d")


def test_a_source_of_another_interval_is_refused(market: Path) -> None:
    """Daily bars as minutes, and minutes as days, end before anything comes of them."""
    for file, interval in (("us_daily", "1m"), ("us_minute", "1d"), ("crypto_minute", "1h")):
        with pytest.raises(DataError, match=f"apart .*, the interval given is {interval}: give"):
            survey(market / f"{file}.csv.gz", interval=interval)


@pytest.mark.parametrize("weekday", ["MON", "FRI"])
@pytest.mark.parametrize("interval", ["1w", "7d"])
def test_weekly_bars_lie_on_their_own_weekday(weekday: str, interval: str) -> None:
    """Weeks that start on a Monday or end on a Friday are all accepted, one after a holiday too."""
    days = pd.date_range("2024-01-01", periods=20, freq=f"W-{weekday}").to_list()
    days[7] += pd.Timedelta(days=1)
    rows = [{"symbol": "A", "date": f"{day:%F}", "open": 1, "high": 1, "low": 1, "close": 1,
             "volume": 1} for day in days]  # fmt: skip
    taken = intake(rows, interval=interval)
    assert taken.counts == Counts(read=20, accepted=20)
    assert [b - a for a, b in pairwise(taken.bars.ts.tolist())].count(7 * DAY) == 17
