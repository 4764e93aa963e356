"""Amounts: money as whole minor units, decimal grids of prices and quantities, and their bounds.

Every amount is bounded, so that no count overflows and none is taken for null:

- a quantity by MOST_UNITS: up to it whole numbers are exact as float64;
- the value of an order, of a position and of a commission by `most_value`, up to which it can be
  rounded to the minor unit;
- the cash by MOST_CASH, so that its sum with the values of all positions stays an int64.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction

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
