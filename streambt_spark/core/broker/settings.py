"""The settings of a simulated account, as a user gives them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streambt_spark.core.amounts import MOST_CASH, minor_units
from streambt_spark.core.broker import commission as commissions
from streambt_spark.core.broker import slippage as slippages
from streambt_spark.core.broker.commission import Commission
from streambt_spark.core.market.instruments import Instrument, default_instrument
from streambt_spark.errors import BadParameter

_CURRENCY = re.compile(r"^[A-Z]{3,8}$")
_MOST_DIGITS = 8


def setting(default: Any, text: str) -> Any:
    """Return a field of an account with its default, or what makes it, and what it means.

    It is a setting of a run as well, with this text as its help: see `streambt_spark.settings`.
    """
    if callable(default):
        return field(default_factory=default, metadata={"text": text})
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True, slots=True)
class Broker:
    """The settings of a simulated account.

    `cash` is the start cash in units of `currency`, which has `minor_digits` decimals;
    `commission` and `slippage` take the texts that their modules parse; `allow_short` lets a pulse
    below zero open a short position; `instruments` overrides the default instrument of a symbol;
    `opening` holds, by symbol, the quantities ordered before the first slice (below zero to sell).
    """

    cash: float = setting(1_000_000.0, "Start cash in currency units.")
    commission: object = setting(
        0.0, "1.5 (an order), 0.1%, '0.005/share min 1 max 0.5%', '{buy: …, sell: …}' or tiers."
    )
    slippage: object = setting("none", "How much worse than quoted an order fills.")
    allow_short: bool = setting(False, "Whether a pulse below zero goes short.")
    minor_digits: int = setting(2, "The currency's number of decimals.")
    instruments: Mapping[str, Instrument] = setting(
        dict, "Symbols that trade otherwise than their kind: '{AAPL: {tick: 0.05, lot: 10}}'."
    )
    opening: Mapping[str, float] = setting(
        dict, "Quantities ordered before the first bar, below zero to sell."
    )
    currency: str = setting("USD", "The account's currency.")

    def __post_init__(self) -> None:
        if not (isinstance(self.currency, str) and _CURRENCY.match(self.currency)):
            raise BadParameter(
                f"a currency is three to eight capitals, such as USD, found {self.currency!r}"
            )
        if self.minor_digits not in range(_MOST_DIGITS + 1):
            raise BadParameter(
                f"minor_digits is a number from 0 to {_MOST_DIGITS}, found {self.minor_digits!r}"
            )
        if not 0 < minor_units(self.cash, self.minor_digits) < MOST_CASH:
            raise BadParameter(
                f"cash must be positive and below {MOST_CASH} minor units, found {self.cash!r}"
            )
        opening = {symbol: float(quantity) for symbol, quantity in self.opening.items()}
        as_meant = {
            "cash": float(self.cash),
            "commission": commissions.parse(self.commission),
            "slippage": slippages.parse(self.slippage),
            "allow_short": bool(self.allow_short),
            "instruments": dict(self.instruments),
            "opening": opening,
        }
        for name, value in as_meant.items():
            object.__setattr__(self, name, value)

    def instrument(self, symbol: str) -> Instrument:
        """Return how a symbol trades in this account."""
        return self.instruments.get(symbol) or default_instrument(symbol)

    @property
    def identity(self) -> str:
        """The text of all settings, the same however they were written."""
        return _meaning(self)


def _meaning(value: object) -> str:
    """Return a text of a setting; a mapping's order and a scheme's wording leave no trace."""
    if isinstance(value, Commission):
        return repr(value.table())
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_meaning(value[key])}' for key in sorted(value))}}}"
    if dataclasses.is_dataclass(value):
        parts = (f"{f.name}={_meaning(getattr(value, f.name))}" for f in dataclasses.fields(value))
        return f"({', '.join(parts)})"
    # A NumPy number is the number that it holds. NumPy is not imported for it: the options of the
    # command line are made of this module.
    plain = getattr(value, "item", None)
    return repr(plain() if callable(plain) else value)
