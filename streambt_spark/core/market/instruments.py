"""Instruments: how a symbol trades."""

from __future__ import annotations

from dataclasses import dataclass

from streambt_spark.core.broker.money import grid
from streambt_spark.errors import BadParameter


@dataclass(frozen=True, slots=True)
class Instrument:
    """How a symbol trades: price `tick`, quantity `lot`, value `multiplier` of one unit."""

    tick: float = 0.01
    lot: float = 1.0
    multiplier: float = 1.0

    def __post_init__(self) -> None:
        grid(self.tick)
        grid(self.lot)
        if not self.multiplier > 0:
            raise BadParameter(f"multiplier must be positive, found {self.multiplier!r}")


def default_instrument(symbol: str) -> Instrument:
    """Return whole units for a stock and 1e-8 units for a crypto symbol ('@BTCUSD')."""
    return Instrument(lot=1e-8) if symbol.startswith("@") else Instrument()
