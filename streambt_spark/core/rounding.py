"""Rounding of products of decimals, as decimal arithmetic would; compiled."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from streambt_spark.core.amounts import EPSILON


@njit(cache=True, inline="always")
def round_minor(value: float) -> int:
    """Round a count of minor units half to even, as decimal arithmetic would.

    `value` is a product of decimal numbers held as float64, so a decimal tie such as 1000.5 may
    arrive a few units in the last place off. Anything within four of them of a tie is the tie. It
    must be below MOST_VALUE.
    """
    nearest = np.rint(value)
    if 0.5 - abs(value - nearest) <= 4.0 * EPSILON * abs(value):
        below = math.floor(value)
        return below + (below & 1)
    return int(nearest)


@njit(cache=True, inline="always")
def whole_lots(lots: float) -> int:
    """Round a number of lots, below MOST_UNITS, towards zero, as decimal arithmetic would.

    A quotient that should be whole may arrive a few units in the last place below it; no lot that
    is less than three quarters there is made whole of that.
    """
    slack = min(max(1e-9, 4.0 * EPSILON * abs(lots)), 0.25)
    return int(lots + slack) if lots > 0.0 else int(lots - slack)
