"""Sizing: how a lane turns the strength of a pulse into a target position.

An allocation is a row of parameters here, one for each lane, that compiled code reads.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from streambt_spark.core.amounts import MOST_UNITS, MOST_VALUE
from streambt_spark.core.records import record_of
from streambt_spark.core.rounding import round_minor, whole_lots

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.records import Record


class Sizing(IntEnum):
    """How strength becomes a target."""

    FIXED = 0
    ENTRY_PERCENT = 1
    TARGET_PERCENT = 2
    ALL_IN = 3
    FUNCTION = 4


class Parameters(NamedTuple):
    """A sizing with its numbers; what a sizing does not use is 0."""

    code: Sizing
    quantity: float = 0.0
    share: float = 0.0

    def row(self) -> NDArray[np.void]:
        """Return the parameters as one record."""
        return np.array([tuple(self)], SIZING)


SIZING = record_of(
    ("code", "i8"),  # a Sizing
    ("quantity", "f8"),  # units
    ("share", "f8"),  # of the equity
)

_FIXED, _ENTRY_PERCENT, _ALL_IN, FUNCTION = (
    int(s) for s in (Sizing.FIXED, Sizing.ENTRY_PERCENT, Sizing.ALL_IN, Sizing.FUNCTION)
)


@njit(cache=True)
def asks(long: bool, held: int, sizing: Record, terms: Record, traded: Record) -> bool:
    """Return whether a wish can change what is held, orders included.

    Most wishes do not: they ask again for what is there. It depends on nothing that changes from
    bar to bar, so it is asked once for each change of a position.
    """
    if not long and not terms.allow_short:
        return held != 0
    if sizing.code == _FIXED:
        lots = sizing.quantity * traded.lot_den / traded.lot_num
        return bool(held != whole_lots(lots) * (1 if long else -1))
    entered = held > 0 if long else held < 0
    return not (entered and (sizing.code == _ENTRY_PERCENT or sizing.code == _ALL_IN))


@njit(cache=True)
def target_of(
    wish: float,
    held: int,
    close: float,
    equity: int,
    spendable: float,
    sizing: Record,
    terms: Record,
    traded: Record,
) -> tuple[float, float]:
    """Return the target in lots, not yet whole, and what of `spendable` is left for others.

    `spendable` is the free cash in minor units that ALL_IN sizes by. A position that is turned over
    pays for its other side; with several symbols asking in one slice, the first takes it.
    """
    sign = 1.0 if wish > 0.0 else -1.0
    if sign < 0.0 and not terms.allow_short:
        return 0.0, spendable
    if sizing.code == _FIXED:
        return sign * (sizing.quantity * traded.lot_den / traded.lot_num), spendable
    lot_value = traded.unit * close
    if sizing.code != _ALL_IN:
        return sign * _lots(equity / terms.minor * sizing.share, lot_value), spendable
    released = abs(held) * lot_value * terms.minor if held * sign < 0.0 else 0.0
    budget = spendable + minor_of(released)
    lots = _lots(budget / terms.minor, lot_value)
    spent = whole_lots(lots) * lot_value * terms.minor if lots < MOST_UNITS else budget
    return sign * lots, budget - minor_of(spent)


@njit(cache=True, inline="always")
def _lots(budget: float, lot_value: float) -> float:
    return max(budget / lot_value, 0.0) if lot_value > 0.0 else 0.0


@njit(cache=True, inline="always")
def minor_of(value: float) -> float:
    """Return a value rounded to the minor unit where it can be."""
    return float(round_minor(value)) if abs(value) < MOST_VALUE else value
