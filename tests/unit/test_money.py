"""Money: exact counts of minor units, ties as decimals have them, grids as fractions."""

from __future__ import annotations

import pytest

from streambt_spark.core.amounts import grid, minor_units
from streambt_spark.core.rounding import round_minor, whole_lots
from streambt_spark.errors import BadParameter


@pytest.mark.parametrize(
    ("value", "cents"),
    [(0.5, 0), (1.5, 2), (2.5, 2), (2.51, 3), (-0.5, 0), (-1.5, -2), (-2.51, -3), (7.0, 7)],
)
def test_half_goes_to_the_even(value: float, cents: int) -> None:
    """A tie goes to the even count, on both sides of zero."""
    assert round_minor(value) == cents


def test_a_decimal_tie_is_a_tie() -> None:
    """1.005 x 100 is 100.49999999999999 as float64, 1.225 x 100 is 122.50000000000001."""
    assert 1.005 * 100 < 100.5
    assert round_minor(1.005 * 100) == 100
    assert 1.225 * 100 > 122.5
    assert round_minor(1.225 * 100) == 122
    assert 1.015 * 100 < 101.5
    assert round_minor(1.015 * 100) == 102


@pytest.mark.parametrize(
    ("lots", "whole"),
    [
        (2.9999999999, 3),
        (2.99, 2),
        (-2.99, -2),
        (0.0, 0),
        (-2.9999999999, -3),
        (2e13 - 0.004, 2 * 10**13),
        (2.0**51, 2**51),
        (2.0**53 - 1, 2**53 - 1),
        (-(2.0**51), -(2**51)),
    ],
)
def test_lots_go_towards_zero_but_for_lost_bits(lots: float, whole: int) -> None:
    """What a division lost in its last bits is given back, at any size."""
    assert whole_lots(lots) == whole


def test_amounts_become_cents() -> None:
    """0.1 is ten cents, as it is written; a currency may have other decimals."""
    assert minor_units(0.1) == 10
    assert minor_units("1234.56") == 123_456
    assert minor_units(1e6) == 100_000_000
    assert minor_units(500, digits=0) == 500
    assert minor_units("0.00000001", digits=8) == 1


@pytest.mark.parametrize("amount", [0.001, "ten", float("nan"), float("inf"), "1/0", True])
def test_what_is_no_amount_is_refused(amount: float | str) -> None:
    """Finer than a cent, or no number."""
    with pytest.raises(BadParameter, match=r"is not an amount|more than 2 decimals"):
        minor_units(amount)


def test_steps_are_exact() -> None:
    """A tick of 0.01 is 1/100, a lot of 1e-8 is 1/100000000."""
    assert grid(0.01) == (1, 100)
    assert grid(1e-8) == (1, 100_000_000)
    assert grid(0.25) == (1, 4)
    assert grid("5") == (5, 1)


@pytest.mark.parametrize("step", [0, -0.01, "fine", float("inf"), "1/0"])
def test_a_step_is_a_positive_number(step: float | str) -> None:
    """Anything else is refused by its name."""
    with pytest.raises(BadParameter, match=r"step"):
        grid(step)
