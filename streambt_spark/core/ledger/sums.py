"""Sums of one pass that lose nothing: of integers exact, of floats in twice the precision.

An integer sum is two int64, high · 2³² + low with low below 2³². A float sum is two floats: the sum
as rounded, and all that rounding left of each addition. Neither depends on anything but the values
and their order, so a sum carried from batch to batch is the sum of the whole.
"""

from __future__ import annotations

from numba import njit

_LOW = 2**32 - 1


@njit(cache=True)
def add_exact(high, low, value):  # type: ignore[no-untyped-def]
    """Return the sum of integers, in two parts, after one more."""
    low += value & _LOW
    return high + (value >> 32) + (low >> 32), low & _LOW


@njit(cache=True)
def add(total, rest, value):  # type: ignore[no-untyped-def]
    """Return the sum of floats and its rest after one more, as Knuth's TwoSum has it."""
    after = total + value
    taken = after - total
    return after, rest + ((total - (after - taken)) + (value - taken))


def joined(high: int, low: int) -> int:
    """Return an exact sum from its two parts."""
    return (high << 32) + low


def parted(value: int) -> tuple[int, int]:
    """Return the two parts of an exact sum."""
    return value >> 32, value & _LOW
