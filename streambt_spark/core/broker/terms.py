"""A lane's settings as compiled code reads them: records of numbers, made once for a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.amounts import MOST_UNITS, grid, minor_units, most_value
from streambt_spark.core.broker.allocation import (
    BUILT_IN,
    Allocation,
    AllocationFunction,
    sizing_of,
)
from streambt_spark.core.broker.commission import Commission
from streambt_spark.core.broker.recording import Policy
from streambt_spark.core.broker.sizing import Sizing
from streambt_spark.core.broker.slippage import Slippage, SlippageKind
from streambt_spark.core.market.instruments import Instrument
from streambt_spark.core.records import record_of
from streambt_spark.errors import BadParameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.broker.settings import Broker

TERMS = record_of(
    ("start_cash", "i8"),  # minor units
    ("most_value", "i8"),  # the bound of a value, see `money`
    ("minor", "f8"),  # minor units in one of the currency
    ("slip_amount", "f8"),
    ("slip_kind", "i4"),
    ("lane", "i4"),  # its number in the plan
    ("slip_outside", "i1"),
    ("allow_short", "i1"),
    ("currency", "i1"),  # its code in the plan's events
)

TRADED = record_of(
    ("tick_num", "i8"),  # the tick as a fraction, 0 / 0 for none
    ("tick_den", "i8"),
    ("low_tick_num", "i8"),  # that of prices below one
    ("low_tick_den", "i8"),
    ("lot_num", "f8"),
    ("lot_den", "f8"),
    ("multiplier", "f8"),
    ("unit", "f8"),  # quantity of one lot times multiplier
    ("most_lots", "i8"),  # a quantity of more cannot be counted
    ("opening", "i8"),  # lots ordered before the first slice
)


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """A lane's settings for a universe; `function` is a user's allocation, None for a built-in."""

    terms: NDArray[np.void]  # TERMS[1]
    sizing: NDArray[np.void]  # SIZING[1]
    traded: NDArray[np.void]  # TRADED[S]
    fees: NDArray[np.float64]  # [2, K, 7], see `commission`
    function: AllocationFunction | None
    policy: Policy


def compile_terms(
    broker: Broker,
    allocation: Allocation,
    symbols: Sequence[str],
    *,
    policy: Policy = Policy.FULL,
    lane: int = 0,
    currency: int = 0,
    traded: NDArray[np.void] | None = None,
) -> Terms:
    """Return a lane's settings for a universe; `traded` is a broker's, where it is known.

    Raises BadParameter where they do not suit it.
    """
    fees, slippage = broker.commission, broker.slippage
    assert isinstance(fees, Commission)
    assert isinstance(slippage, Slippage)
    terms = np.zeros(1, TERMS)
    terms["start_cash"] = minor_units(broker.cash, broker.minor_digits)
    terms["most_value"] = most_value(len(symbols))
    terms["minor"] = 10.0**broker.minor_digits
    terms["slip_amount"] = slippage.amount
    terms["slip_kind"] = slippage.kind
    terms["slip_outside"] = slippage.outside_bar
    terms["allow_short"] = broker.allow_short
    terms["lane"] = lane
    terms["currency"] = currency
    traded = traded_by(broker, symbols) if traded is None else traded
    sizing = sizing_of(allocation, len(symbols)).row()
    if sizing["code"][0] == Sizing.FIXED:
        lots = sizing["quantity"] * traded["lot_den"] / traded["lot_num"]
        if (lots >= traded["most_lots"] + 1.0).any():
            raise BadParameter(
                f"a size of {float(sizing['quantity'][0])!r} is too many lots to count"
            )
    function = None if isinstance(allocation, BUILT_IN) else allocation
    return Terms(terms, sizing, traded, np.array(fees.table()), function, policy)


def traded_by(broker: Broker, symbols: Sequence[str]) -> NDArray[np.void]:
    """Return how the symbols of a universe trade in an account, TRADED[S]."""
    unknown = sorted(set(broker.opening) - set(symbols))
    if unknown:
        raise BadParameter(f"opening orders of symbols outside the universe: {', '.join(unknown)}")
    slippage = broker.slippage
    assert isinstance(slippage, Slippage)
    traded = np.zeros(len(symbols), TRADED)
    for row, symbol in zip(traded, symbols, strict=True):
        instrument = broker.instrument(symbol)
        ticks = instrument.ticks(symbol)
        if slippage.kind is SlippageKind.TICKS and ticks.step[1] == 0:
            raise BadParameter(
                f"slippage in ticks needs a tick, and {symbol} has none; give its instrument one, "
                "or write the slippage as a percentage"
            )
        row["tick_num"], row["tick_den"] = ticks.step
        row["low_tick_num"], row["low_tick_den"] = ticks.below_one
        num, den = _lot(instrument)
        row["lot_num"], row["lot_den"] = num, den
        row["multiplier"] = instrument.multiplier
        row["unit"] = num / den * instrument.multiplier
        row["most_lots"] = (MOST_UNITS - 1) // num
        row["opening"] = _opening_lots(broker.opening, symbol, num, den)
    return traded


@lru_cache(maxsize=1024)
def _lot(instrument: Instrument) -> tuple[int, int]:
    return grid(instrument.lot)


def _opening_lots(opening: Mapping[str, float], symbol: str, num: int, den: int) -> int:
    if symbol not in opening:
        return 0
    exact = Fraction(str(opening[symbol])) * den / num
    if exact.denominator != 1 or abs(exact) * num >= MOST_UNITS:
        raise BadParameter(
            f"an opening order of {opening[symbol]!r} {symbol} is not in lots of {num / den}"
        )
    return int(exact)
