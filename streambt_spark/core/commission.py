"""Commission schemes: what a fill costs, as one table that the broker's kernel reads."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from streambt_spark.errors import BadParameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_FLAT = re.compile(rf"^{_NUMBER}$")
_PERCENT = re.compile(rf"^{_NUMBER}\s*%$")
_PER_SHARE = re.compile(rf"^{_NUMBER}\s*/\s*share$")
_BOUND = re.compile(rf"^(.*?)\s+(min|max)\s+{_NUMBER}\s*(%?)$")
PATTERN = (
    "a number (flat for each order), 'X%' of the traded value, 'X/share', each with an optional "
    "'min X' and 'max X' or 'max X%', {'buy': .., 'sell': ..}, or tiers [[below, rate], .., rate]"
)


@dataclass(frozen=True, slots=True)
class Tier:
    """The rate for orders whose traded value is below `below` (currency units)."""

    below: float = math.inf
    flat: float = 0.0
    percent: float = 0.0
    per_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Rate:
    """One side's commission: its tiers, then a minimum and maxima for each order.

    `minimum` and `maximum` are currency units, `max_percent` a percentage of the traded value;
    the minimum is applied first, so a maximum wins over it, as US per-share plans do.
    """

    tiers: tuple[Tier, ...] = (Tier(),)
    minimum: float = 0.0
    maximum: float = math.inf
    max_percent: float = math.inf


@dataclass(frozen=True, slots=True)
class Commission:
    """The commission of buys and of sells."""

    buy: Rate = Rate()
    sell: Rate = Rate()

    def table(self) -> NDArray[np.float64]:
        """Return float64[2, K, 4]: side (buy, sell) by tier by (below, flat, rate, per share)."""
        depth = max(len(self.buy.tiers), len(self.sell.tiers))
        table = np.zeros((2, depth, 4))
        for side, rate in enumerate((self.buy, self.sell)):
            for k in range(depth):
                tier = rate.tiers[min(k, len(rate.tiers) - 1)]
                table[side, k] = (tier.below, tier.flat, tier.percent / 100, tier.per_share)
        return table

    def bounds(self) -> NDArray[np.float64]:
        """Return float64[2, 3]: side by (minimum, maximum, maximum as a share of the value)."""
        sides = (self.buy, self.sell)
        return np.array([[r.minimum, r.maximum, r.max_percent / 100] for r in sides])


def parse(value: object) -> Commission:
    """Return the Commission that a setting describes; see PATTERN for the forms.

    A bare number is flat for each order, 'X%' is of the traded value. Raises BadParameter naming
    the pattern for anything else.
    """
    if isinstance(value, Commission):
        return value
    if isinstance(value, Mapping):
        if not value or set(value) - {"buy", "sell"}:
            raise _bad(value)
        return Commission(_rate(value.get("buy", 0)), _rate(value.get("sell", 0)))
    rate = _rate(value)
    return Commission(rate, rate)


def _rate(value: object) -> Rate:
    if isinstance(value, Rate):
        return value
    if isinstance(value, bool):
        raise _bad(value)
    if isinstance(value, int | float):
        if not (math.isfinite(value) and value >= 0):
            raise _bad(value)
        return Rate((Tier(flat=float(value)),))
    if isinstance(value, str):
        return _parse_text(value.strip())
    if isinstance(value, Sequence) and value:
        return _tiers(value)
    raise _bad(value)


def _parse_text(text: str) -> Rate:
    bounds: dict[str, float] = {}
    rest = text
    while (match := _BOUND.match(rest)) is not None:
        rest, word, number, percent = match.groups()
        name = {"min": "minimum", "max": "max_percent" if percent else "maximum"}[word]
        if name in bounds or (word == "min" and percent):
            raise _bad(text)
        bounds[name] = float(number)
    for pattern, field in ((_FLAT, "flat"), (_PERCENT, "percent"), (_PER_SHARE, "per_share")):
        if (match := pattern.match(rest)) is not None:
            return Rate((Tier(**{field: float(match[1])}),), **bounds)
    raise _bad(text)


def _tiers(value: Sequence[Any]) -> Rate:
    """Return the rate of [[below, rate], …, rate]: ascending bounds, the last without one."""
    bounds = [item[0] if _is_pair(item) else math.inf for item in value]
    rates = [_rate(item[1] if _is_pair(item) else item) for item in value]
    numbers = all(isinstance(bound, int | float) for bound in bounds)
    if not numbers or any(len(rate.tiers) != 1 for rate in rates):
        raise _bad(value)
    if bounds[-1] != math.inf or any(low >= high for low, high in pairwise((0.0, *bounds))):
        raise _bad(value)
    tiers = tuple(
        replace(rate.tiers[0], below=float(bound))
        for bound, rate in zip(bounds, rates, strict=True)
    )
    return Rate(tiers, max(rate.minimum for rate in rates))


def _is_pair(item: object) -> bool:
    return isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 2


def _bad(value: object) -> BadParameter:
    return BadParameter(f"commission {value!r} is not understood; write {PATTERN}")


@njit(cache=True)
def charge(
    table: NDArray[np.float64],
    bounds: NDArray[np.float64],
    side: int,
    value: float,
    quantity: float,
) -> float:
    """Return the commission in currency units of a fill (side 0 buy, 1 sell) worth `value`."""
    k = 0
    while value >= table[side, k, 0]:
        k += 1
    fee = table[side, k, 1] + table[side, k, 2] * value + table[side, k, 3] * quantity
    fee = max(fee, bounds[side, 0])
    fee = min(fee, bounds[side, 1])
    return float(min(fee, bounds[side, 2] * value))
