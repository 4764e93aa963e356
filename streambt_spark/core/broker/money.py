"""Money as exact integers, and decimal grids for prices and quantities."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from numba import njit

from streambt_spark.errors import BadParameter

EPSILON = 2.0**-52


@njit(cache=True, inline="always")
def round_minor(value: float) -> int:
    """Round a count of minor units half to even, as decimal arithmetic would.

    `value` is a product of decimal numbers held as float64, so a decimal tie such as 1000.5 may
    arrive a few units in the last place off. Anything within four of them of a tie is the tie.
    """
    below = math.floor(value)
    excess = value - below
    whole = int(below)
    if abs(excess - 0.5) <= 4.0 * EPSILON * abs(value):
        return whole + (whole & 1)
    return whole + 1 if excess > 0.5 else whole


@njit(cache=True, inline="always")
def whole_lots(lots: float) -> int:
    """Round a number of lots towards zero, as decimal arithmetic would.

    A quotient that should be whole may arrive a few units in the last place below it.
    """
    slack = max(1e-9, 4.0 * EPSILON * abs(lots))
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

    Raises BadParameter where the step is not a positive decimal number.
    """
    try:
        exact = Fraction(Decimal(str(step)))
    except (InvalidOperation, ValueError, OverflowError):
        raise BadParameter(f"{step!r} is not a step of prices or quantities") from None
    if exact <= 0:
        raise BadParameter(f"a step must be positive, found {step!r}")
    return exact.numerator, exact.denominator
