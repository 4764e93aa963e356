"""Commission schemes: what a fill costs, as one table that the broker's kernel reads."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from streambt_spark.errors import BadParameter

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
    """The rate for orders whose traded value is below `below` (currency units).

    The sum of `flat`, `percent` of the traded value and `per_share` of the quantity, then a minimum
    and maxima for each order: `minimum` and `maximum` are currency units, `max_percent` is of the
    traded value. The minimum is applied first, so a maximum wins over it, as US per-share plans do.
    """

    below: float = math.inf
    flat: float = 0.0
    percent: float = 0.0
    per_share: float = 0.0
    minimum: float = 0.0
    maximum: float = math.inf
    max_percent: float = math.inf

    def row(self) -> tuple[float, ...]:
        """Return the numbers that `charge` reads, percentages as shares."""
        share, most = self.percent / 100, self.max_percent / 100
        own = (self.below, self.flat, share, self.per_share, self.minimum, self.maximum, most)
        return tuple(map(float, own))


@dataclass(frozen=True, slots=True)
class Commission:
    """The commission of buys and of sells: tiers with ascending bounds, the last without one."""

    buy: tuple[Tier, ...] = (Tier(),)
    sell: tuple[Tier, ...] = (Tier(),)

    def table(self) -> list[list[tuple[float, ...]]]:
        """Return side (buy, sell) by tier by the numbers of `Tier.row`, both sides of one depth."""
        depth = max(len(self.buy), len(self.sell))
        return [
            [tiers[min(k, len(tiers) - 1)].row() for k in range(depth)]
            for tiers in (self.buy, self.sell)
        ]


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


def _rate(value: object) -> tuple[Tier, ...]:
    if isinstance(value, bool):
        raise _bad(value)
    if isinstance(value, int | float):
        if not (math.isfinite(value) and value >= 0):
            raise _bad(value)
        return (Tier(flat=float(value)),)
    if isinstance(value, str):
        return _parse_text(value.strip())
    if isinstance(value, Sequence) and value:
        return _tiers(value)
    raise _bad(value)


def _parse_text(text: str) -> tuple[Tier, ...]:
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
            return (Tier(**{field: float(match[1])}, **bounds),)
    raise _bad(text)


def _tiers(value: Sequence[Any]) -> tuple[Tier, ...]:
    """Return the rate of [[below, rate], …, rate]: ascending bounds, the last without one."""
    bounds = [item[0] if _is_pair(item) else math.inf for item in value]
    rates = [_rate(item[1] if _is_pair(item) else item) for item in value]
    numbers = all(isinstance(bound, int | float) for bound in bounds)
    if not numbers or any(len(rate) != 1 for rate in rates):
        raise _bad(value)
    if bounds[-1] != math.inf or any(low >= high for low, high in pairwise((0.0, *bounds))):
        raise _bad(value)
    return tuple(
        replace(rate[0], below=float(bound)) for bound, rate in zip(bounds, rates, strict=True)
    )


def _is_pair(item: object) -> bool:
    return isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 2


def _bad(value: object) -> BadParameter:
    return BadParameter(f"commission {value!r} is not understood; write {PATTERN}")
