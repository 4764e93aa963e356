"""Round trips: which fills make a trade, and what it earned to the cent."""

from __future__ import annotations

import numpy as np
import pytest

from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import REGISTRY, Kind
from streambt_spark.core.ledger.trades import Fills, match_fills

DAY = 86_400_000_000


def fills_of(*rows: tuple[int, int, float, float, int], symbol: int = 0) -> Fills:
    """Return fills of (day, side, quantity, price, commission in cents), one symbol."""
    ts, side, quantity, price, fee = (np.array(column) for column in zip(*rows, strict=True))
    gross = np.rint(quantity * price * 100).astype(np.int64)
    return Fills(
        ts=ts * DAY,
        symbol=np.full(len(ts), symbol, np.int32),
        side=side.astype(np.int8),
        quantity=quantity.astype(np.float64),
        price=price.astype(np.float64),
        commission=fee.astype(np.int64),
        amount=-side * gross - fee,
    )


def test_long_round_trip() -> None:
    """Bought 10 at 100, sold at 115 three days later, 1 cent each way: 149.98 earned."""
    trades, left = match_fills(fills_of((1, 1, 10, 100.0, 1), (4, -1, 10, 115.0, 1)))
    assert len(left) == 0
    assert (trades.side[0], trades.quantity[0]) == (1, 10.0)
    assert (trades.entry_ts[0], trades.exit_ts[0], trades.held[0]) == (DAY, 4 * DAY, 3 * DAY)
    assert (trades.entry_price[0], trades.exit_price[0]) == (100.0, 115.0)
    assert (trades.pnl[0], trades.commission[0]) == (14_998, 2)
    assert trades.returns[0] == 14_998 / 100_000


def test_short_round_trip() -> None:
    """Sold short at 50, bought back at 40: 100 earned on 10, a fifth of the entry's value."""
    trades, left = match_fills(fills_of((1, -1, 10, 50.0, 0), (2, 1, 10, 40.0, 0)))
    assert len(left) == 0
    assert (trades.side[0], trades.pnl[0], trades.returns[0]) == (-1, 10_000, 0.2)


def test_first_in_first_out() -> None:
    """An exit over two lots is two trades, the older lot first and the younger one in part."""
    fills = fills_of((1, 1, 5, 10.0, 0), (2, 1, 5, 20.0, 0), (3, -1, 8, 30.0, 0))
    trades, left = match_fills(fills)
    assert trades.quantity.tolist() == [5.0, 3.0]
    assert trades.entry_price.tolist() == [10.0, 20.0]
    assert trades.pnl.tolist() == [10_000, 3_000]
    assert (left.quantity.tolist(), left.entry_price.tolist()) == ([2.0], [20.0])
    assert left.amount.tolist() == [-4_000]


def test_flip_through_zero() -> None:
    """A sale of 15 against 10 held closes the long and opens a short of 5 at the same price."""
    trades, left = match_fills(fills_of((1, 1, 10, 10.0, 3), (2, -1, 15, 12.0, 3)))
    assert (trades.quantity.tolist(), trades.side.tolist()) == ([10.0], [1])
    assert (left.quantity.tolist(), left.side.tolist()) == ([5.0], [-1])
    assert trades.commission.tolist() == [5]  # 3 of the entry, 10/15 of the exit's 3
    assert left.commission.tolist() == [1]
    assert left.amount.tolist() == [5_999]


def test_cents_are_shared_exactly() -> None:
    """A commission of 10 cents over three equal exits is 3, 4 and 3, and nothing is lost."""
    rows = [(1, 1, 3, 1.0, 10), *((day, -1, 1, 1.0, 0) for day in (2, 3, 4))]
    trades, _ = match_fills(fills_of(*rows))
    assert trades.commission.tolist() == [3, 4, 3]
    assert trades.pnl.tolist() == [-3, -4, -3]


def test_fractional_lots_leave_no_dust() -> None:
    """0.1 and 0.2 bought, 0.3 sold: closed, although 0.1 + 0.2 is not 0.3 in floating point."""
    fills = fills_of((1, 1, 0.1, 100.0, 1), (2, 1, 0.2, 100.0, 1), (3, -1, 0.3, 100.0, 1))
    trades, left = match_fills(fills)
    assert len(left) == 0
    assert len(trades) == 2
    assert trades.commission.sum() == 3


def test_symbols_do_not_mix() -> None:
    """A sale of one symbol never closes a lot of another."""
    bought, sold = fills_of((1, 1, 1, 10.0, 0)), fills_of((2, -1, 1, 10.0, 0), symbol=1)
    both = Fills(
        *(np.concatenate([getattr(f, n) for f in (bought, sold)]) for n in Fills.__slots__)
    )
    trades, left = match_fills(both)
    assert len(trades) == 0
    assert left.symbol.tolist() == [0, 1]


def test_no_fills() -> None:
    """No fills give no trades and no open lots."""
    trades, left = match_fills(Fills.of(Events.empty(), 0))
    assert (len(trades), len(left)) == (0, 0)
    assert trades.pnl.dtype == np.int64


@pytest.mark.parametrize(("lane", "expected"), [(0, [7.0]), (1, [8.0])])
def test_fills_of_a_lane(lane: int, expected: list[float]) -> None:
    """Only the fills of the lane are taken from a ledger's events."""
    records = np.repeat(REGISTRY.blank, 3)
    records["kind"] = (Kind.FILL, Kind.FILL, Kind.ORDER)
    records["lane"] = (0, 1, 0)
    records["quantity"] = (7.0, 8.0, 9.0)
    assert Fills.of(Events(records), lane).quantity.tolist() == expected


def test_traded_value_excludes_commission() -> None:
    """10 at 100 bought and sold at 115 trades 2,150 whatever the commission."""
    assert fills_of((1, 1, 10, 100.0, 7), (2, -1, 10, 115.0, 7)).traded_value() == 215_000
