"""Allocations: from a pulse's strength and the portfolio to a target position.

A built-in allocation is a row of parameters for the compiled sizing. A user's own is a Python
function `f(strength, portfolio, bars) -> {symbol: target quantity}`, called once for each slice
with the strengths that ask for something, after the fills of that slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streambt_spark.core.broker.sizing import Parameters, Sizing
from streambt_spark.errors import BadParameter


@dataclass(frozen=True, slots=True)
class FixedSize:
    """A target of `quantity` units."""

    quantity: float

    def __post_init__(self) -> None:
        _check_positive("FixedSize", self.quantity)

    def sizing(self, symbols: int) -> Parameters:
        """Return the sizing for a universe of `symbols`."""
        return Parameters(Sizing.FIXED, quantity=float(self.quantity))


@dataclass(frozen=True, slots=True)
class PercentOfEquity:
    """A share of the equity at entry (0.5 is 50 %); then held, not rebalanced."""

    share: float

    def __post_init__(self) -> None:
        _check_share("PercentOfEquity", self.share)

    def sizing(self, symbols: int) -> Parameters:
        """Return the sizing for a universe of `symbols`."""
        return Parameters(Sizing.ENTRY_PERCENT, share=float(self.share))


@dataclass(frozen=True, slots=True)
class TargetPercent:
    """A share of the equity (0.5 is 50 %), rebalanced at every pulse that is not zero."""

    share: float

    def __post_init__(self) -> None:
        _check_share("TargetPercent", self.share)

    def sizing(self, symbols: int) -> Parameters:
        """Return the sizing for a universe of `symbols`."""
        return Parameters(Sizing.TARGET_PERCENT, share=float(self.share))


@dataclass(frozen=True, slots=True)
class AllIn:
    """All the cash there is; a fill that needs more than there is shrinks to what fits.

    What fits is the largest number of lots, found by bisection. With several symbols asking in one
    slice, the first in the universe's order takes it.
    """

    def sizing(self, symbols: int) -> Parameters:
        """Return the sizing for a universe of `symbols`."""
        return Parameters(Sizing.ALL_IN)


@dataclass(frozen=True, slots=True)
class EqualWeight:
    """An equal part of the equity for each of `positions` symbols (default: the universe).

    Rebalanced at every pulse that is not zero. `share` is what of the equity is invested when all
    positions are taken: less than 1 leaves the cash for commissions and for opens above the close
    that the orders were sized at, which would be rejected otherwise.
    """

    positions: int | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.positions is not None:
            _check_positive("EqualWeight", self.positions)
        _check_share("EqualWeight", self.share)

    def sizing(self, symbols: int) -> Parameters:
        """Return the sizing for a universe of `symbols`."""
        return Parameters(Sizing.TARGET_PERCENT, share=self.share / (self.positions or symbols))


@dataclass(frozen=True, slots=True)
class Bar:
    """One symbol's bar in a slice."""

    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class Portfolio:
    """What an allocation function sees of its account, after the fills of the slice.

    `cash` and `equity` are currency units; `quantity` holds the open positions and `working` the
    signed quantities of orders not yet filled, both by symbol.
    """

    ts: int
    cash: float
    equity: float
    quantity: Mapping[str, float]
    working: Mapping[str, float]


AllocationFunction = Callable[
    [Mapping[str, float], Portfolio, Mapping[str, Bar]], Mapping[str, float]
]
Allocation = FixedSize | PercentOfEquity | TargetPercent | AllIn | EqualWeight | AllocationFunction
BUILT_IN = (FixedSize, PercentOfEquity, TargetPercent, AllIn, EqualWeight)


def sizing_of(allocation: Allocation, symbols: int) -> Parameters:
    """Return an allocation as the compiled sizing's parameters."""
    if isinstance(allocation, BUILT_IN):
        return allocation.sizing(symbols)
    return Parameters(Sizing.FUNCTION)


def _check_share(name: str, share: float) -> None:
    _check_positive(name, share)
    if share > 1:
        raise BadParameter(
            f"{name} takes a share of the equity up to 1 (0.5 is 50 %), found {share!r}"
        )


def _check_positive(name: str, value: float) -> None:
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise BadParameter(f"{name} needs a positive number, found {value!r}")
