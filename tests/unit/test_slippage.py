"""Slippage: worse by ticks or a percentage, on the tick, inside the bar."""

from __future__ import annotations

import pytest

from streambt_spark.core.broker.costs import slip
from streambt_spark.core.broker.slippage import Slippage, SlippageKind, parse
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
    """Return the price after slippage, with 1/`tick` as the tick; 0 for none."""
    s = parse(setting)
    step = (1, tick) if tick else (0, 0)
    return float(slip(price, sign, low, high, s.kind, s.amount, s.outside_bar, *step))


@pytest.mark.parametrize("setting", [None, "none", "", "0", " None ", "0 ticks", "0%"])
def test_none_leaves_the_price_alone(setting: object) -> None:
    """Even one that is off the tick."""
    assert slipped(setting, 10.003, BUY) == 10.003


def test_ticks_go_against_the_order() -> None:
    """Two ticks up for a buy, down for a sell."""
    assert (slipped("2 ticks", 10.0, BUY), slipped("2 ticks", 10.0, SELL)) == (10.02, 9.98)
    assert slipped("1 tick", 10.0, BUY, tick=4) == 10.25


@pytest.mark.parametrize(
    ("setting", "price", "bought", "sold"),
    [
        ("0.05%", 30.0, 30.02, 29.98),  # 30.015 and 29.985
        ("0.05%", 10.0, 10.01, 9.99),  # 10.005 and 9.995, half a tick away
        ("0.001%", 10.0, 10.01, 9.99),  # a hundredth of a tick away is a tick
        ("0.1%", 10.0, 10.01, 9.99),  # on a tick stays there, whatever the last bits are
        ("0.7%", 10.0, 10.07, 9.93),
        ("0.01%", 10.004, 10.01, 10.0),  # the nearest tick would be better than the open
        ("1 tick", 10.004, 10.02, 9.99),
    ],
)
def test_the_tick_is_rounded_away_from_the_trader(
    setting: str, price: float, bought: float, sold: float
) -> None:
    """A purchase up, a sale down: never a price better than the open."""
    assert (slipped(setting, price, BUY), slipped(setting, price, SELL)) == (bought, sold)
    assert sold <= price <= bought


def test_a_price_without_a_tick_is_not_rounded() -> None:
    """A crypto pair's, say."""
    assert slipped("0.05%", 0.00001234, BUY, 0.0, 1.0, tick=0) == 0.00001234 * 1.0005
    assert slipped("0.05%", 0.00001234, SELL, 0.0, 1.0, tick=0) == 0.00001234 * 0.9995


@pytest.mark.parametrize("price", [10.0, 0.1, 12345.67, 1e-7, 3e15])
@pytest.mark.parametrize("setting", ["0.000000001%", "0.3%", "40%"])
@pytest.mark.parametrize("tick", [0, 1, 100, 10_000])
def test_slippage_never_improves_a_price(price: float, setting: str, tick: int) -> None:
    """Whatever the price, the size of the slippage and the tick."""
    free = Slippage(SlippageKind.PERCENT, parse(setting).amount, outside_bar=True)
    assert slipped(free, price, BUY, tick=tick) >= price
    assert 0 <= slipped(free, price, SELL, tick=tick) <= price


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
