"""Slippage: worse by ticks or a percentage, on the tick, inside the bar."""

from __future__ import annotations

import pytest

from streambt_spark.core.broker.slippage import Slippage, SlippageKind, parse, slip
from streambt_spark.errors import BadParameter

BUY, SELL = 1, -1


def slipped(
    setting: object,
    price: float,
    sign: int,
    low: float = 0.01,
    high: float = 1e9,
    *,
    tick: int = 100,
) -> float:
    """Return the price after slippage, with 1/`tick` as the tick."""
    s = parse(setting)
    return float(slip(price, sign, low, high, s.kind, s.amount, s.outside_bar, 1, tick))


@pytest.mark.parametrize("setting", [None, "none", "", "0", " None ", "0 ticks", "0%"])
def test_none_leaves_the_price_alone(setting: object) -> None:
    """Even one that is off the tick."""
    assert slipped(setting, 10.003, BUY) == 10.003


def test_ticks_go_against_the_order() -> None:
    """Two ticks up for a buy, down for a sell."""
    assert (slipped("2 ticks", 10.0, BUY), slipped("2 ticks", 10.0, SELL)) == (10.02, 9.98)
    assert slipped("1 tick", 10.0, BUY, tick=4) == 10.25


def test_a_percentage_is_rounded_half_even_to_the_tick() -> None:
    """30.00 x 1.0005 is 30.015, a tie that goes to 30.02; 10.00 x 1.0005 is 10.005, to 10.00."""
    assert slipped("0.05%", 30.0, BUY) == 30.02
    assert slipped("0.05%", 10.0, BUY) == 10.0
    assert slipped("0.05%", 10.0, SELL) == 10.0
    assert slipped("0.05%", 30.0, SELL) == 29.98


def test_nobody_traded_outside_the_bar() -> None:
    """The price stays inside the bar, unless it is said that it need not."""
    assert slipped("5 ticks", 10.0, BUY, 9.9, 10.02) == 10.02
    assert slipped("5 ticks", 10.0, SELL, 9.98, 10.1) == 9.98
    free = Slippage(SlippageKind.TICKS, 5.0, outside_bar=True)
    assert slipped(free, 10.0, BUY, 9.9, 10.02) == 10.05


@pytest.mark.parametrize("setting", ["a lot", "-1 ticks", "1", 3, "1 % more", "ticks", ["1 tick"]])
def test_what_is_not_understood_is_refused_with_the_forms(setting: object) -> None:
    """The message says what may be written."""
    with pytest.raises(BadParameter, match=r"slippage .* write 'none', '2 ticks' or '0.05%'"):
        parse(setting)
