"""Instruments: how a symbol trades."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from streambt_spark.core.amounts import grid
from streambt_spark.errors import BadParameter

_OPTION = re.compile(r"^[A-Z0-9.]{1,6}\d{6}[CP]\d{8}$")
_CENT, _SUB_PENNY = (1, 100), (1, 10_000)


class Ticks(NamedTuple):
    """The steps of prices, as fractions; (0, 0) where prices have none.

    `below_one` is the step of prices below one unit of the currency.
    """

    step: tuple[int, int]
    below_one: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Instrument:
    """How a symbol trades: price `tick`, quantity `lot`, value `multiplier` of one unit.

    Without a tick it is the symbol's own: a stock's is 0.01, and 0.0001 below 1; a crypto pair,
    an option and whatever has a '/' have none, so that their prices are not rounded.
    """

    tick: float | None = None
    lot: float = 1.0
    multiplier: float = 1.0

    def __post_init__(self) -> None:
        if self.tick is not None:
            grid(self.tick)
            object.__setattr__(self, "tick", float(self.tick))
        grid(self.lot)
        if not (math.isfinite(self.multiplier) and self.multiplier > 0):
            raise BadParameter(
                f"a multiplier must be a positive, finite number, found {self.multiplier!r}"
            )
        object.__setattr__(self, "lot", float(self.lot))
        object.__setattr__(self, "multiplier", float(self.multiplier))

    def ticks(self, symbol: str) -> Ticks:
        """Return the steps of a symbol's prices."""
        if self.tick is not None:
            return Ticks(grid(self.tick), grid(self.tick))
        if symbol.startswith("@") or "/" in symbol or _OPTION.match(symbol):
            return Ticks((0, 0), (0, 0))
        return Ticks(_CENT, _SUB_PENNY)


def default_instrument(symbol: str) -> Instrument:
    """Return whole units for a stock and 1e-8 units for a crypto symbol ('@BTCUSD')."""
    return Instrument(lot=1e-8) if symbol.startswith("@") else Instrument()
