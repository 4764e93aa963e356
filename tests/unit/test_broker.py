"""The broker's settings, and what its fold promises beside the rules that the ledgers show."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from streambt_spark.core import plan as plans
from streambt_spark.core.broker.allocation import AllIn, Allocation, EqualWeight, FixedSize
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.broker.terms import compile_terms
from streambt_spark.core.broker.trade import open_books, trade
from streambt_spark.core.indicators.graph import BARS, Ref
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import REGISTRY, Kind
from streambt_spark.core.market.instruments import Instrument, default_instrument
from streambt_spark.core.records import columns_of
from streambt_spark.errors import BadParameter
from streambt_spark.stores.ledger import ledger_table
from tests.golden.table import run
from tests.lanes import fold_lane
from tests.property.accounts import panel_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    return fold_lane(panel, strength, broker, allocation)


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


CHANGED: dict[str, object] = {
    "cash": 1000.01,
    "commission": "1%",
    "slippage": "1 tick",
    "allow_short": True,
    "minor_digits": 3,
    "instruments": {"A": Instrument(lot=0.5)},
    "opening": {"A": 1},
    "currency": "EUR",
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Broker)])
def test_every_setting_is_part_of_the_identity(field: str) -> None:
    """A setting that is added is told apart by itself, and must be added to this test."""
    changed = {field: CHANGED[field]}
    assert Broker(**changed).identity != Broker().identity  # type: ignore[arg-type]
    assert Broker(**changed).identity == Broker(**changed).identity  # type: ignore[arg-type]


def test_a_setting_that_is_added_is_part_of_the_identity() -> None:
    """Nothing lists the settings: two accounts that differ in it are two lanes."""

    @dataclasses.dataclass(frozen=True)
    class Wider(Broker):
        """A broker with one setting more."""

        haircut: float = 0.0

    assert lane_name(Wider()) != lane_name(Wider(haircut=0.5))


@pytest.mark.parametrize("currency", ["", "US", "usd", "DOLLARSUS", "U$D", None, 1])
def test_a_currency_is_three_to_eight_capitals(currency: object) -> None:
    """Anything else is refused by what was found."""
    with pytest.raises(BadParameter, match="three to eight capitals"):
        Broker(currency=currency)  # type: ignore[arg-type]


def test_every_amount_names_its_currency() -> None:
    """In each event that carries money, and in no other."""
    words = REGISTRY.vocabulary(["L"], ["A"], ["JPY"])
    events = fold([10, 10, 10], [1, 0, 0], FixedSize(1), Broker(cash=100, currency="JPY"))
    found = {row["kind"]: row["currency"] for row in ledger_table(events, words).to_pylist()}
    assert found == {"cash": "JPY", "order": None, "fill": "JPY", "equity": "JPY"}


@pytest.mark.parametrize("digits", [-1, 9, 0.5, "2"])
def test_decimals_are_few(digits: object) -> None:
    """0 for yen, 2 for dollars, 8 for bitcoin."""
    with pytest.raises(BadParameter, match="minor_digits is a number from 0 to 8"):
        Broker(minor_digits=digits)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("symbol", "steps"),
    [
        ("AAPL", ((1, 100), (1, 10_000))),
        ("BRK.B", ((1, 100), (1, 10_000))),
        ("@BTCUSD", ((0, 0), (0, 0))),
        ("EUR/USD", ((0, 0), (0, 0))),
        ("AAPL240119C00150000", ((0, 0), (0, 0))),
    ],
)
def test_prices_have_the_ticks_of_their_kind(symbol: str, steps: object) -> None:
    """Stocks a cent, and a hundredth of it below a dollar; others none, unless one is given."""
    assert default_instrument(symbol).ticks(symbol) == steps
    assert Instrument(tick=0.25).ticks(symbol) == ((1, 4), (1, 4))


def test_slippage_of_a_penny_stock_is_in_hundredths_of_a_cent() -> None:
    """0.1 % of 0.50 are 0.0005, and not a cent; 2 ticks are 0.0002."""
    bars = [(0.5, 0.6, 0.4, 0.5)] * 2
    for slippage, price in (("0.1%", 0.5005), ("2 ticks", 0.5002)):
        found = run({"PNY": bars}, [1, 0], FixedSize(100), cash=1_000, slippage=slippage)
        assert found.fills["price"].tolist() == [price]


def test_a_crypto_price_is_not_rounded() -> None:
    """0.1 % of 0.00001234: on a tick of a cent it would fill at 0.00, or at 0.01."""
    bars = [(0.00001234, 1.0, 0.000001, 0.00001234)] * 2
    found = run({"@PEPE": bars}, [1, 0], FixedSize(100), cash=1_000, slippage="0.1%")
    assert found.fills["price"].tolist() == [0.00001234 * 1.001]


def test_slippage_in_ticks_needs_a_tick() -> None:
    """Said before anything runs, with the way out."""
    with pytest.raises(BadParameter, match="needs a tick, and @BTC has none; give its instrument"):
        compile_terms(Broker(slippage="1 tick"), FixedSize(1), ("@BTC",))
    traded = {"@BTC": Instrument(tick=0.5)}
    compile_terms(Broker(slippage="1 tick", instruments=traded), FixedSize(1), ("@BTC",))


@pytest.mark.parametrize(
    ("opening", "message"),
    [({"Z": 1}, "outside the universe: Z"), ({"A": 0.5}, r"0\.5 A is not in lots of 1\.0")],
)
def test_opening_orders_name_symbols_and_whole_lots(
    opening: dict[str, float], message: str
) -> None:
    """Otherwise nothing runs."""
    with pytest.raises(BadParameter, match=message):
        compile_terms(Broker(opening=opening), FixedSize(1), ("A", "B"))


def test_a_size_that_cannot_be_counted_is_refused() -> None:
    """Beyond 2**53 lots."""
    with pytest.raises(BadParameter, match="is too many lots to count"):
        compile_terms(Broker(), FixedSize(1e300), ("A",))


def test_an_opening_order_counts_towards_the_target() -> None:
    """10 ordered before the start, 15 wanted at its close: 5 are missing. A short needs leave."""
    events = fold([10, 10, 10], [1, 0, 0], FixedSize(15), Broker(cash=1_000, opening={"A": 10}))
    assert events.quantity[events.kind == Kind.ORDER].tolist() == [10.0, 5.0]
    assert events.position[events.kind == Kind.FILL].tolist() == [10.0, 15.0]
    refused = fold([10], [0], FixedSize(1), Broker(cash=1_000, opening={"A": -10}))
    assert refused.kind.tolist() == [Kind.CASH, Kind.REJECT, Kind.EQUITY]


def test_the_account_given_is_left_as_it_was() -> None:
    """A step that is repeated after a crash starts from the same account."""
    panel = panel_of(np.ones((3, 1), bool), np.full((3, 1, 4), [1000, 1000, 0, 0]), np.ones(1))
    lanes = [compile_terms(Broker(cash=1_000), AllIn(), panel.symbols)]
    books = open_books(lanes, 1)
    first, events = trade(lanes, books, panel, panel.ts, [np.ones((1, 3))])
    again, repeated = trade(lanes, books, panel, panel.ts, [np.ones((1, 3))])
    assert not books.accounts["seq"].any()
    assert _bytes(Events.concat(events).records) == _bytes(Events.concat(repeated).records)
    assert _bytes(first.accounts) == _bytes(again.accounts)
    assert _bytes(first.positions) == _bytes(again.positions)


def _bytes(records: NDArray[np.void]) -> dict[str, bytes]:
    """Return each field's bytes; those between the fields mean nothing."""
    return {name: column.tobytes() for name, column in columns_of(records).items()}


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
    events = fold_lane(panel, wishes, broker, FixedSize(3))
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
