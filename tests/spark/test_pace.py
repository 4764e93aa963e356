"""The pace of a replay, by a clock that the test holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streambt_spark.core.market.bars import Bars
from streambt_spark.errors import ConfigError
from streambt_spark.stores.lake import bars_to_batches, write_snapshot
from streambt_spark.streams.pace import Pace, Timeline, due_slices, seconds_until

MINUTE = 60_000_000
TIMELINE = Timeline(np.array([0, 1, 2, 10]) * MINUTE, np.array([0, 2, 5, 6, 10]))
"""Slices at minutes 0, 1, 2 and 10 with 2, 3, 1 and 4 bars."""


@pytest.mark.parametrize(
    ("elapsed", "due"),
    [(0.0, 1), (0.999, 1), (1.0, 2), (1.999, 2), (2.0, 3), (9.999, 3), (10.0, 4), (1e9, 4)],
)
def test_speed_is_exact(elapsed: float, due: int) -> None:
    """At 60 event seconds per second, minute m is due after exactly m seconds, gaps included."""
    assert due_slices(Pace(speed=60).due_at(TIMELINE), elapsed) == due


@pytest.mark.parametrize(
    ("elapsed", "due"), [(0.0, 1), (0.99, 1), (1.0, 2), (2.49, 2), (2.5, 3), (3.0, 4)]
)
def test_bars_per_second_is_exact(elapsed: float, due: int) -> None:
    """At 2 bars per second, a slice is due once the bars before it have had their time."""
    assert due_slices(Pace(bars_per_second=2).due_at(TIMELINE), elapsed) == due


def test_no_limit_means_all_at_once() -> None:
    """Without a rate every slice is due at the start."""
    assert due_slices(Pace().due_at(TIMELINE), 0.0) == len(TIMELINE)


def test_a_resumed_clock_starts_at_its_own_slice() -> None:
    """After a restart at slice 2 that one is due at once, and minute 10 eight seconds later."""
    due_at = Pace(speed=60).due_at(TIMELINE)
    assert due_slices(due_at, 0.0, first=2) == 3
    assert due_slices(due_at, 7.999, first=2) == 3
    assert due_slices(due_at, 8.0, first=2) == 4
    assert due_slices(due_at, 0.0, first=4) == 4


def test_waiting_is_exact_and_never_negative() -> None:
    """The wait for a slice is what is left until its release, and none once it is due."""
    due_at = Pace(speed=60).due_at(TIMELINE)
    assert seconds_until(due_at, 3, 4.0) == 6.0
    assert seconds_until(due_at, 3, 4.0, first=2) == 4.0
    assert seconds_until(due_at, 1, 5.0) == 0.0


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ((-1.0, 0.0), "speed is -1.0"),
        ((float("nan"), 0.0), "speed is nan"),
        ((0.0, float("inf")), "bars_per_second is inf"),
        ((1.0, 1.0), "both given"),
    ],
)
def test_impossible_rates_are_refused(rates: tuple[float, float], said: str) -> None:
    """A negative or endless rate, or two of them, is an error of the configuration."""
    with pytest.raises(ConfigError, match=said):
        Pace(*rates)


def test_splits_are_even_in_bars_and_whole_in_slices() -> None:
    """A batch is split between slices, into parts of about the same number of bars."""
    assert TIMELINE.split(0, 4, 2) == [(0, 2), (2, 4)]
    assert TIMELINE.split(0, 4, 1) == [(0, 4)]
    assert TIMELINE.split(1, 2, 8) == [(1, 2)]
    assert [a for a, _ in TIMELINE.split(0, 4, 99)] == [0, 1, 2, 3]


def test_timeline_counts_the_bars_of_a_selection(tmp_path: Path) -> None:
    """The timeline has the distinct times of the selected bars, and how many bars each has."""
    code, minute = np.array([0, 1, 0, 1, 1], np.int32), np.array([0, 0, 1, 2, 3])
    price = np.full(5, 10.0)
    bars = Bars("1m", ("A", "B"), code, minute * MINUTE, price, price, price, price, price)
    snapshot = write_snapshot(bars_to_batches(bars), tmp_path / "bars", interval="1m")
    everything = Timeline.of(snapshot)
    assert (everything.ts // MINUTE).tolist() == [0, 1, 2, 3]
    assert everything.bars_before.tolist() == [0, 2, 3, 4, 5]
    part = Timeline.of(snapshot, start=1 * MINUTE, end=3 * MINUTE, symbols=["B"])
    assert (part.ts // MINUTE).tolist() == [2]
    assert part.bars_before.tolist() == [0, 1]
    assert len(Timeline.of(snapshot, start=9 * MINUTE)) == 0
