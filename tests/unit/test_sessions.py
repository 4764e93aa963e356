"""Sessions: a bar's day of trading, from a table of clock changes alone."""

from __future__ import annotations

import numpy as np
import pytest

from streambt_spark.core.market.sessions import Sessions

HOUR = 3_600_000_000
DAY = 24 * HOUR


def table(*values: int) -> np.ndarray:
    """Return int64 values."""
    return np.array(values, np.int64)


def sessions_of(rule: Sessions, *hours: float, interval: int = HOUR) -> list[int]:
    """Return the sessions of times in hours since 1970."""
    return rule.session_of((np.array(hours) * HOUR).astype(np.int64), interval).tolist()


def test_without_arguments_sessions_are_days_of_utc() -> None:
    """Midnight begins a session, before 1970 as well."""
    assert sessions_of(Sessions(), -0.5, 0, 23.5, 24) == [-1, 0, 0, 1]


def test_a_change_counts_from_its_very_moment() -> None:
    """At 30:00 the clock goes from 2 hours behind to 1: midnight moves from 02:00 to 01:00."""
    rule = Sessions(changes=table(30 * HOUR), offsets=table(-2 * HOUR, -HOUR))
    assert sessions_of(rule, 1.5, 2, 25.5, 26, 48.5, 49) == [-1, 0, 0, 1, 1, 2]


def test_the_hour_that_comes_twice_has_one_session() -> None:
    """At 24:30 UTC the clock goes back from 00:30 to 23:30: the day before comes back, as on it."""
    rule = Sessions(changes=table(24 * HOUR + HOUR // 2), offsets=table(0, -HOUR))
    assert sessions_of(rule, 23.9, 24.1, 24.5, 24.9, 25) == [0, 1, 0, 0, 1]


@pytest.mark.parametrize(("hour", "session"), [(16.9, 0), (17, 1), (40.9, 1), (41, 2)])
def test_an_evening_belongs_to_the_next_day(hour: float, session: int) -> None:
    """A session that opens 7 hours before midnight begins at 17:00."""
    assert sessions_of(Sessions(evening=7 * HOUR), hour) == [session]


@pytest.mark.parametrize("interval", [DAY, 7 * DAY])
def test_a_long_bar_belongs_to_its_utc_date(interval: int) -> None:
    """Whatever the exchange's clock: a daily bar starts at midnight UTC and means that date."""
    rule = Sessions(offsets=table(-5 * HOUR), evening=7 * HOUR)
    assert sessions_of(rule, 0, 24, interval=interval) == [0, 1]


def test_identity_tells_rules_apart() -> None:
    """Equal tables have one identity; another change, offset or evening has another."""
    rules = [
        Sessions(),
        Sessions(evening=HOUR),
        Sessions(offsets=table(HOUR)),
        Sessions(changes=table(0), offsets=table(0, HOUR)),
        Sessions(changes=table(1), offsets=table(0, HOUR)),
    ]
    assert len({rule.identity for rule in rules}) == len(rules)
    assert Sessions(offsets=table(0)).identity == Sessions().identity


def test_half_a_table_is_refused() -> None:
    """A change without the offset after it is a mistake of the program."""
    with pytest.raises(AssertionError):
        Sessions(changes=table(0))
