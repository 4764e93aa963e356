"""The broker's settings, and what its fold promises beside the rules that the ledgers show."""

from __future__ import annotations

import numpy as np
import pytest

from streambt_spark.core import plan as plans
from streambt_spark.core.broker.account import Broker, open_account, step, terms
from streambt_spark.core.broker.allocation import AllIn, Allocation, EqualWeight, FixedSize
from streambt_spark.core.indicators.graph import BARS, Ref
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import Kind
from streambt_spark.core.market.instruments import Instrument, default_instrument
from streambt_spark.errors import BadParameter
from tests.property.accounts import panel_of


def fold(
    prices: list[float],
    wishes: list[float],
    allocation: Allocation,
    broker: Broker,
    name: str = "A",
) -> Events:
    """Return the events of one symbol at one price a bar."""
    ticks = np.array([[[round(100 * p), round(100 * p), 0, 0]] for p in prices])
    panel = panel_of(np.ones((len(prices), 1), bool), ticks, np.ones(1))
    strength = np.array(wishes, float)[:, None]
    return step(terms(broker, allocation, panel.symbols), open_account(1), panel, strength)[1]


def lane_name(broker: Broker, allocation: Allocation | None = None) -> str:
    """Return the name of a lane."""
    return plans.lane(Ref(BARS, "close"), allocation or FixedSize(1), broker).name


@pytest.mark.parametrize("cash", [0, -5, float("nan"), "much", 1e15, 0.001])
def test_cash_is_a_countable_amount(cash: float) -> None:
    """Positive, in whole cents, and few enough to be exact."""
    with pytest.raises(BadParameter, match=r"cash|amount of money|decimals"):
        Broker(cash=cash)


@pytest.mark.parametrize(
    "make",
    [lambda: Instrument(tick=0), lambda: Instrument(lot=-1), lambda: Instrument(multiplier=0)],
)
def test_steps_and_multiplier_are_positive(make: object) -> None:
    """Whatever the instrument."""
    with pytest.raises(BadParameter, match=r"positive"):
        make()  # type: ignore[operator]


def test_crypto_is_fractional_by_default() -> None:
    """By the sign its symbol starts with; a setting comes first."""
    assert default_instrument("@BTCUSD").lot == 1e-8
    assert default_instrument("AAPL").lot == 1.0
    assert Broker(instruments={"AAPL": Instrument(lot=0.1)}).instrument("AAPL").lot == 0.1


def test_a_lane_is_named_by_what_the_settings_mean() -> None:
    """How numbers were written and in which order does not matter; what they say does."""
    a, b = Instrument(lot=0.5), Instrument(tick=0.05)
    one = Broker(
        cash=1000, commission="0.1%", instruments={"A": a, "B": b}, opening={"A": 1, "B": 2}
    )
    same = Broker(
        cash=1000.0,
        commission={"buy": "0.10%", "sell": ".1%"},
        instruments={"B": Instrument(tick=0.05, lot=1), "A": a},
        opening={"B": 2.0, "A": 1.0},
    )
    assert lane_name(one, FixedSize(10)) == lane_name(same, FixedSize(10.0))
    others = [
        Broker(cash=1000.01),
        Broker(cash=1000, allow_short=True),
        Broker(cash=1000, slippage="1 tick"),
        Broker(cash=1000, commission=0.01),
        Broker(cash=1000, opening={"A": 1}),
        Broker(cash=1000, minor_digits=0),
        Broker(cash=1000),
    ]
    assert len({lane_name(broker) for broker in others}) == len(others)
    assert lane_name(one, EqualWeight(2)) != lane_name(one, EqualWeight(2, share=0.5))


@pytest.mark.parametrize(
    ("opening", "message"),
    [({"Z": 1}, "outside the universe: Z"), ({"A": 0.5}, r"0\.5 A is not in lots of 1\.0")],
)
def test_opening_orders_name_symbols_and_whole_lots(
    opening: dict[str, float], message: str
) -> None:
    """Otherwise nothing runs."""
    with pytest.raises(BadParameter, match=message):
        terms(Broker(opening=opening), FixedSize(1), ("A", "B"))


def test_a_size_that_cannot_be_counted_is_refused() -> None:
    """Beyond 2**53 lots."""
    with pytest.raises(BadParameter, match=r"is more than \d+ lots"):
        terms(Broker(), FixedSize(1e300), ("A",))


def test_an_opening_order_counts_towards_the_target() -> None:
    """10 ordered before the start, 15 wanted at its close: 5 are missing. A short needs leave."""
    events = fold([10, 10, 10], [1, 0, 0], FixedSize(15), Broker(cash=1_000, opening={"A": 10}))
    assert events.quantity[events.kind == Kind.ORDER].tolist() == [10.0, 5.0]
    assert events.position[events.kind == Kind.FILL].tolist() == [10.0, 15.0]
    refused = fold([10], [0], FixedSize(1), Broker(cash=1_000, opening={"A": -10}))
    assert refused.kind.tolist() == [Kind.CASH, Kind.REJECT, Kind.EQUITY]


def test_the_account_given_is_left_as_it_was() -> None:
    """A step that is repeated after a crash starts from the same account."""
    account = open_account(1)
    panel = panel_of(np.ones((3, 1), bool), np.full((3, 1, 4), [1000, 1000, 0, 0]), np.ones(1))
    settings = terms(Broker(cash=1_000), AllIn(), panel.symbols)
    first, events = step(settings, account, panel, np.ones((3, 1)))
    again, repeated = step(settings, account, panel, np.ones((3, 1)))
    assert not account.registers.any()
    assert events.cash.tobytes() == repeated.cash.tobytes()
    for name in first._fields:
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()


def test_many_slices_and_orders_outgrow_the_first_tape() -> None:
    """20,000 slices with an order in each: numbers stay dense over many tapes."""
    wishes = [1.0, -1.0] * 10_000
    events = fold([10.0] * 20_000, wishes, FixedSize(1), Broker(cash=1_000))
    assert events.seq.tolist() == list(range(len(events)))
    assert (events.kind == Kind.FILL).sum() == 19_999


def test_orders_pile_up_while_bars_are_missing() -> None:
    """An order from before the start and one of the first slice wait 38 slices for a bar."""
    present = np.ones((40, 2), bool)
    present[1:39, 1] = False
    panel = panel_of(present, np.full((40, 2, 4), [100, 100, 0, 0]), np.ones(2))
    wishes = np.ones((40, 2))
    broker = Broker(cash=1_000, opening={"B": 1})
    _, events = step(terms(broker, FixedSize(3), panel.symbols), open_account(2), panel, wishes)
    fills = events.kind == Kind.FILL
    assert events.quantity[fills & (events.symbol == 1)].tolist() == [1.0, 2.0]


def test_buy_and_hold_is_a_closed_form() -> None:
    """Equity is the cash left and the quantity at the close, in every slice."""
    prices = [10.0, 11.0, 9.5, 12.25, 8.75]
    events = fold(prices, [1, 1, 1, 1, 1], FixedSize(7), Broker(cash=1_000, commission="0.1%"))
    left = 100_000 - 7 * 1100 - 8  # bought at the second bar; 0.1 % of 77.00 is 0.077
    expected = [100_000, *(left + round(700 * price) for price in prices[1:])]
    assert events.equity[events.kind == Kind.EQUITY].tolist() == expected


def test_a_currency_without_cents() -> None:
    """Yen: 3 at 1,001.5 cost 3004.5, a tie, to the even yen."""
    events = fold([1001.5, 1001.5], [1, 0], FixedSize(3), Broker(cash=10_000, minor_digits=0))
    assert events.amount[events.kind == Kind.FILL].tolist() == [-3004]
