"""Faults: what makes a bar invalid, and which rule names it."""

from __future__ import annotations

import numpy as np

from streambt_spark.core.market.bars import DAY_US, FIELDS
from streambt_spark.core.market.faults import EARLIEST_US, LATEST_US, Reason, find_faults


def faults(*ts: int) -> list[Reason | None]:
    """Return the fault of a daily bar at each time, whose numbers are sound."""
    return find_faults(np.array(ts), {name: np.ones(len(ts)) for name in FIELDS}, "1d").tolist()


def test_a_time_that_nanoseconds_cannot_hold_is_a_fault() -> None:
    """1678-01-01 and 2262-04-11 are the first and the last day; beyond them nothing is believed."""
    assert np.datetime64(EARLIEST_US, "us") == np.datetime64("1678-01-01")
    assert np.datetime64(LATEST_US, "us") == np.datetime64("2262-04-11")
    assert faults(EARLIEST_US, LATEST_US) == [None, None]
    year_9999, ends = 253_402_214_400_000_000, np.iinfo(np.int64)
    beyond = EARLIEST_US - DAY_US, LATEST_US + DAY_US, year_9999, ends.min, ends.max
    assert faults(*beyond) == [Reason.BAD_TIME] * 5
