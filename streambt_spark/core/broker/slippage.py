"""Slippage: how much worse than the quoted price an order fills."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from streambt_spark.errors import BadParameter

_TEXT = re.compile(r"^(\d+(?:\.\d*)?|\.\d+)\s*(%|ticks?)$")


class SlippageKind(IntEnum):
    """How `Slippage.amount` is read."""

    NONE = 0
    TICKS = 1
    PERCENT = 2


@dataclass(frozen=True, slots=True)
class Slippage:
    """A price made worse by a number of ticks or a percentage, then rounded to the tick.

    It is rounded away from the trader, a purchase up and a sale down, so it is never better than
    without slippage; where the instrument has no tick it is not rounded. The price stays inside the
    bar that fills the order unless `outside_bar` is set: nobody traded there.
    """

    kind: SlippageKind = SlippageKind.NONE
    amount: float = 0.0
    outside_bar: bool = False


def parse(value: object) -> Slippage:
    """Return the Slippage that 'none', 'N ticks' or 'X%' describes.

    Raises BadParameter for anything else.
    """
    if isinstance(value, Slippage):
        return value
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "none", "0")):
        return Slippage()
    match = _TEXT.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise BadParameter(
            f"slippage {value!r} is not understood; write 'none', '2 ticks' or '0.05%'"
        )
    kind = SlippageKind.PERCENT if match[2] == "%" else SlippageKind.TICKS
    return Slippage(kind, float(match[1]))
