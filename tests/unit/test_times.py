"""Times in every form that a source may have: read right, or refused; never wrapped or misread."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streambt_spark.errors import BadTime
from streambt_spark.stores.intake import Counts, Intake, intake
from streambt_spark.stores.times import NAT, moment, parse_times

NOON = 1_577_966_400_000_000  # 2020-01-02T12:00Z
DAY = 1_577_923_200_000_000  # 2020-01-02T00:00Z


def parsed(column: pa.Array, tz: str = "UTC", *, daily: bool = False) -> list[int]:
    """Return the times of a column."""
    return parse_times(column, tz, session=False, daily=daily).tolist()


def taken(times: pa.Array, interval: str = "1m") -> Intake:
    """Take in one bar for each time, after one that is good."""
    n = len(times) + 1
    table = pa.table(
        {
            "symbol": [f"S{i}" for i in range(n)],
            "ts": pa.concat_arrays([good(times.type), times]),
            **{name: [1.0] * n for name in ("open", "high", "low", "close", "volume")},
        }
    )
    return intake(table, interval=interval, tz="UTC", allow_rejected=True)


def good(kind: pa.DataType) -> pa.Array:
    """Return noon in a type of its own."""
    if pa.types.is_date(kind):
        return pa.array([dt.date(2020, 1, 2)], kind)
    if pa.types.is_timestamp(kind):
        return pa.array([NOON], pa.timestamp("us", kind.tz)).cast(kind)
    seconds = pa.array([NOON // 1_000_000])
    return seconds.cast(kind)


@pytest.mark.parametrize(
    "times",
    [
        pa.array([2**62, -(2**62), 2**63 - 1, -(2**63)], pa.timestamp("s")),
        pa.array([2**62, -(2**62), 2**63 - 1], pa.timestamp("s", "America/New_York")),
        pa.array([2**62, -(2**62), 2**63 - 1], pa.timestamp("ms")),
        pa.array([2**62, -(2**62), 2**63 - 1], pa.timestamp("us", "UTC")),
        pa.array([2**31 - 1, -(2**31), 150_000], pa.date32()),
        pa.array([86_400_000 * 10**9, -86_400_000 * 10**9], pa.date64()),
        pa.array([2**64 - 1, 2**63, 9_300_000_000], pa.uint64()),
        pa.array([2**63 - 1, -(2**63), 9_300_000_000, -9_300_000_000]),
        pa.array([1e300, -1e300, float("inf"), float("nan"), 9.3e9]),
        pa.array(["0000-01-01", "1677-12-31T00:00Z", "2262-04-12", "9999-12-31 00:00", "1" * 400,
                  "10000-01-01", "294247-01-10T04:00Z", "9223372036854775807"]),
        pa.array([Decimal("9" * 30), Decimal("-1e25")], pa.decimal128(38, 0)),
    ],
    ids=lambda times: str(times.type),
)  # fmt: skip
def test_a_time_that_no_table_can_hold_is_refused(times: pa.Array) -> None:
    """Beyond 1678 to 2262 a row is quarantined as bad_time, whatever the type; no other suffers."""
    result = taken(times, "1d" if pa.types.is_date(times.type) else "1m")
    assert result.counts == Counts(len(times) + 1, accepted=1, rejected=len(times))
    assert set(result.quarantine["reason"].to_pylist()) == {"bad_time"}
    assert result.quarantine["ts"].null_count == len(times)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("tz", [None, "UTC", "America/New_York", "+05:30"])
def test_every_unit_of_a_timestamp_is_read(unit: str, tz: str | None) -> None:
    """Seconds to nanoseconds, with zone or without, give the same moment, the bounds included."""
    times = ["1678-01-02T00:00", "2020-01-02T12:00", "2262-04-10T00:00"]
    column = (
        pa.array(np.array(times, "M8[s]")).cast(pa.timestamp(unit)).cast(pa.timestamp(unit, tz))
    )
    assert parsed(column) == np.array(times, "M8[us]").astype(np.int64).tolist()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([20200102120000]), NOON),
        (pa.array([20200102120000], pa.uint64()), NOON),
        (pa.array([20200102120000.0]), NOON),
        (pa.array([Decimal(20200102120000)]), NOON),
        (pa.array(["20200102120000"]), NOON),
        (pa.array([202001021200]), NOON),
        (pa.array(["202001021200"]), NOON),
        (pa.array([20200102]), DAY),
        (pa.array([20201302120000]), NAT),
        (pa.array([20200102126000]), NAT),
        (pa.array([99991231235959]), NAT),
        (pa.array(["20200102T120000Z"]), NOON),
        (pa.array([189_388_800_000]), 189_388_800_000_000),  # 1976-01-02
        (pa.array([1_577_966_400_000_000_001]), NOON),
        (pa.array([1_577_966_400.5]), NOON + 500_000),
        (pa.array([-1]), -1_000_000),
    ],
)
def test_digits_are_read_as_the_date_that_they_spell(column: pa.Array, expected: int) -> None:
    """YYYYMMDD, YYYYMMDDHHMM and YYYYMMDDHHMMSS are dates in local time, other numbers epochs."""
    assert parsed(column) == [expected]


def test_digits_that_spell_a_time_are_local() -> None:
    """Noon of YYYYMMDDHHMM is noon of the zone, a day of YYYYMMDD is midnight UTC."""
    hours = 5 * 3_600_000_000
    assert parsed(pa.array([202001021200]), "America/New_York") == [NOON + hours]
    assert parsed(pa.array([20200102120000]), "America/New_York") == [NOON + hours]
    assert parsed(pa.array([20200102]), "America/New_York") == [DAY]
    assert parsed(pa.array([202001020000]), "America/New_York", daily=True) == [DAY]


def test_a_column_decides_what_its_digits_mean() -> None:
    """Milliseconds of 1976 look like YYYYMMDDHHMM now and then, seconds of 1970 like YYYYMMDD;
    a column is read as dates only where most of its numbers spell one.
    """
    day = 86_400_000
    for first, unit in ((180_000_000_000 // day * day, 1000), (19_000_020, 1_000_000)):
        epochs = first + np.arange(3_000) * (day if unit == 1000 else 3600)
        assert parsed(pa.array(epochs)) == (epochs * unit).tolist()
    days = pd.date_range("2020-01-01", periods=300)
    spelled = days.strftime("%Y%m%d0930").astype(int).to_numpy()
    times = parsed(pa.array(np.append(spelled, 202013010930)))
    assert times[:-1] == ((days.to_numpy("M8[us]").astype(np.int64)) + 34_200_000_000).tolist()
    assert times[-1] == NAT


@pytest.mark.parametrize(
    "value", ["0001-01-01", "2300-01-01", "9999-12-31T00:00Z", dt.date(1600, 1, 1)]
)
def test_a_moment_outside_is_refused(value: Any) -> None:
    """The start of a range is read as the time of a bar."""
    with pytest.raises(BadTime, match="expected a time from 1678 to 2262"):
        moment(value)


def test_a_column_of_an_unknown_zone_is_refused() -> None:
    """A file may name a zone that this machine does not know."""
    with pytest.raises(BadTime, match="the table: column 'ts' has times of the zone 'Mars/Base'"):
        taken(pa.array([1], pa.timestamp("s", "Mars/Base")))


def test_no_year_survives_into_a_run(tmp_path: Path) -> None:
    """A Parquet file of years 1, 1677 and 9999 beside a good bar gives the good bar."""
    years = [dt.datetime(year, 1, 1) for year in (1, 1677, 2020, 9999)]  # noqa: DTZ001 - as in a file
    columns = {name: [1.0] * 4 for name in ("open", "high", "low", "close", "volume")}
    table = pa.table({"symbol": ["A"] * 4, "ts": pa.array(years, pa.timestamp("us")), **columns})
    pq.write_table(table, tmp_path / "bars.parquet")
    result = intake(tmp_path / "bars.parquet", interval="1d", allow_rejected=True)
    assert result.counts == Counts(read=4, accepted=1, rejected=3)
    raw = result.quarantine["raw"].to_pylist()
    assert [text for text in raw if "9999-01-01" in text]
