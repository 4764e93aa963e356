"""Money as exact integers, decimal grids for prices and quantities, and what can be counted.

Every amount is bounded, so that no count overflows and none is taken for null:

- a quantity by MOST_UNITS: up to it whole numbers are exact as float64;
- the value of an order, of a position and of a commission by `most_value`, up to which it can be
  rounded to the minor unit;
- the cash by MOST_CASH, so that its sum with the values of all positions stays an int64.
"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import numpy as np
from numba import njit

from streambt_spark.errors import BadParameter

EPSILON = 2.0**-52

MOST_UNITS = 2**53
"""Counts below it are exact as float64."""

MOST_CASH = 2**53
"""Cash stays below it, in minor units."""

MOST_VALUE = 2**48
"""Up to it a whole number of minor units stays whole through the few units in the last place that
products lose; twice as far, nothing could be rounded any more."""


def most_value(symbols: int) -> int:
    """Return the bound of a position's value in minor units: all of them sum up below 2**62."""
    return min(MOST_VALUE, 2**62 // max(symbols, 1))


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


def minor_units(amount: float | str, digits: int = 2) -> int:
    """Return a decimal amount of currency as its count of minor units.

    Raises BadParameter where the amount is no number or finer than the minor unit.
    """
    try:
        units = Fraction(Decimal(str(amount))) * 10**digits
    except (InvalidOperation, ValueError, OverflowError):
        raise BadParameter(f"{amount!r} is not an amount of money") from None
    if units.denominator != 1:
        raise BadParameter(f"{amount!r} has more than {digits} decimals")
    return int(units)


def grid(step: float | str) -> tuple[int, int]:
    """Return a decimal step (a tick or a lot) as an exact fraction (numerator, denominator).

    Raises BadParameter where the step is not a positive decimal number, or one that cannot be
    counted with.
    """
    try:
        exact = Fraction(Decimal(str(step)))
    except (InvalidOperation, ValueError, OverflowError):
        raise BadParameter(f"{step!r} is not a step of prices or quantities") from None
    if exact <= 0:
        raise BadParameter(f"a step must be positive, found {step!r}")
    if max(exact.numerator, exact.denominator) >= MOST_UNITS:
        raise BadParameter(f"a step of {step!r} cannot be counted with; take one of 1e-15 to 9e15")
    return exact.numerator, exact.denominator
