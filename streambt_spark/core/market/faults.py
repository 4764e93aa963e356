"""Faults: why a row is refused, and the rules that a valid bar keeps."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.market.bars import FIELDS, grid_us, interval_us

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class Reason(StrEnum):
    """Why a row was refused; the value is what the quarantine stores."""

    MISSING_FIELD = "missing_field"
    BAD_NUMBER = "bad_number"
    BAD_TIME = "bad_time"
    BAD_SYMBOL = "bad_symbol"
    UNKNOWN_SYMBOL = "unknown_symbol"
    NOT_FINITE = "not_finite"
    NON_POSITIVE_PRICE = "non_positive_price"
    LOW_ABOVE_BODY = "low_above_body"
    HIGH_BELOW_BODY = "high_below_body"
    NEGATIVE_VOLUME = "negative_volume"
    OFF_GRID = "off_grid"
    MALFORMED = "malformed"
    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_WORD = "unknown_word"
    BEYOND_HORIZON = "beyond_horizon"


FAULTS: tuple[Reason | None, ...] = (None, *Reason)
"""A Reason by its code; 0 is no fault."""

CODES = {reason: code for code, reason in enumerate(FAULTS)}
"""The code of a Reason, and 0 of None."""

EARLIEST_US, LATEST_US = -9_214_560_000_000_000, 9_223_286_400_000_000
"""1678-01-01 and 2262-04-11 UTC: times that many tables keep as int64 nanoseconds fit between."""


def out_of_range(ts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which times (UTC µs) no row may have; NULL, which is none, is one of them."""
    outside: NDArray[np.bool_] = (ts < EARLIEST_US) | (ts > LATEST_US)
    return outside


def fault_codes(
    ts: NDArray[np.int64], fields: Mapping[str, NDArray[np.float64]], interval: str
) -> NDArray[np.int8]:
    """Return for every row a code into FAULTS, 0 where the bar is valid.

    `ts` is the start of the bar in UTC microseconds. The first rule a row breaks is its reason:
    a time from EARLIEST_US to LATEST_US, finite, positive prices, low ≤ open and close ≤ high,
    volume ≥ 0, time on the interval's grid.
    """
    o, h, low, c, v = (fields[name] for name in FIELDS)
    codes = np.zeros(len(ts), np.int8)
    # A sum is finite only if all its terms are, but for prices near the end of the float range.
    with np.errstate(invalid="ignore", over="ignore"):
        finite = np.isfinite(o + h + low + c + v)
        rules = [
            (Reason.BAD_TIME, out_of_range(ts)),
            (Reason.NOT_FINITE, ~finite),
            (Reason.NON_POSITIVE_PRICE, ~((low > 0) & (o > 0) & (c > 0) & (h > 0))),
            (Reason.LOW_ABOVE_BODY, (low > o) | (low > c)),
            (Reason.HIGH_BELOW_BODY, (h < o) | (h < c)),
            (Reason.NEGATIVE_VOLUME, v < 0),
            (Reason.OFF_GRID, ts % grid_us(interval_us(interval)) != 0),
        ]
    for reason, broken in reversed(rules):
        if broken.any():
            codes[broken] = CODES[reason]
    return codes


def find_faults(
    ts: NDArray[np.int64], fields: Mapping[str, NDArray[np.float64]], interval: str
) -> NDArray[np.object_]:
    """Return for every row its Reason, or None where the bar is valid; see `fault_codes`."""
    return np.array(FAULTS, dtype=object)[fault_codes(ts, fields, interval)]
