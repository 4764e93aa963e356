"""Ledgers of up to ten bars, computed by hand; the arithmetic stands beside the lines.

Money is in cents. A line is: day, kind, what it is about; '#n' is the order's id, which is the
number of its event.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from streambt_spark import Instrument
from streambt_spark.allocation import AllIn, Bar, FixedSize, Portfolio
from streambt_spark.stores.intake import intake
from tests.golden.table import DAY, FIRST, check, lines, run

NAN = float("nan")


def at(*prices: float) -> list[tuple[float, float, float, float] | None]:
    """Return bars of one price each; 0 stands for no bar."""
    return [(price,) * 4 if price else None for price in prices]


def test_a_long_round_trip_with_a_percentage() -> None:
    """Bought the day after the pulse at the open, sold likewise, 0.1 % each way to the cent."""
    bars = [
        (100.0, 101.0, 99.0, 100.0),
        (100.0, 103.0, 100.0, 102.0),
        (103.0, 105.0, 102.0, 104.0),
        (104.0, 108.0, 104.0, 107.0),
        (107.0, 107.0, 103.0, 105.0),
        (105.5, 106.0, 105.0, 105.55),
        (106.0, 110.0, 106.0, 109.0),
        (111.11, 112.0, 111.0, 111.5),
        (112.0, 113.0, 111.0, 112.0),
        (90.0, 91.0, 89.0, 90.0),
    ]
    wishes = [0, 1, 1, 1, 0, NAN, -1, 0, -1, 0]
    result = run({"X": bars}, wishes, FixedSize(10), cash=10_000, commission="0.1%")
    check(
        result,
        """
         1 cash   +1000000 = 1000000 initial
         1 equity 1000000 = 1000000 cash, exposure 0
         2 equity 1000000 = 1000000 cash, exposure 0
         2 order  #3 buy 10 X @ 102.00        | pulse 1: target 10, held 0
         3 fill   #3 buy 10 X @ 103.00 fee 103 amount -103103 cash 896897 position 10
         3 equity 1000897 = 896897 cash, exposure 104000   | 10 x 104.00
         4 equity 1003897 = 896897 cash, exposure 107000   | asked again: 10 are held
         5 equity 1001897 = 896897 cash, exposure 105000   | pulse 0 keeps what is
         6 equity 1002447 = 896897 cash, exposure 105550   | and so does NaN
         7 equity 1005897 = 896897 cash, exposure 109000
         7 order  #10 sell 10 X @ 109.00      | pulse -1: target 0
         8 fill   #10 sell 10 X @ 111.11 fee 111 amount +110999 cash 1007896 position 0 | 111.11
         8 equity 1007896 = 1007896 cash, exposure 0       | 1000000 + 8110 - 103 - 111
         9 equity 1007896 = 1007896 cash, exposure 0       | nothing left to sell
        10 equity 1007896 = 1007896 cash, exposure 0
        """,
    )


def test_a_fee_per_share_between_bounds_and_ticks_inside_the_bar() -> None:
    """0.5 cents a share, at least 1.00, at most 0.5 %; three ticks worse, never outside the bar."""
    stock = [
        (20, 20.1, 19.9, 20),
        (20, 20.02, 19.8, 20),
        (20.5, 20.6, 20.4, 20.5),
        (21, 21.1, 20.9, 21),
    ]
    penny = [
        (0.5, 0.52, 0.49, 0.5),
        (0.5, 0.55, 0.49, 0.51),
        (0.51, 0.52, 0.5, 0.51),
        (0.49, 0.5, 0.47, 0.48),
    ]
    settings = {
        "commission": "0.005/share min 1 max 0.5%",
        "slippage": "3 ticks",
        "cash": 10_000,
        "instruments": {"PENNY": Instrument(tick=0.01)},
    }
    result = run({"STOCK": stock, "PENNY": penny}, [1, 0, -1, 0], FixedSize(300), **settings)
    check(
        result,
        """
         1 cash   +1000000 = 1000000 initial
         1 equity 1000000 = 1000000 cash, exposure 0
         1 order  #2 buy 300 PENNY @ 0.50
         1 order  #3 buy 300 STOCK @ 20.00
        | 0.50 + 0.03; 300 shares make 1.50, 0.5 % of 159.00 is 0.795, a tie, to the even cent
         2 fill   #2 buy 300 PENNY @ 0.53 fee 80 amount -15980 cash 984020 position 300
        | 20.00 + 0.03 is above the high of 20.02; 300 shares make 1.50
         2 fill   #3 buy 300 STOCK @ 20.02 fee 150 amount -600750 cash 383270 position 300
         2 equity 998570 = 383270 cash, exposure 615300    | 300 x 0.51 + 300 x 20.00
         3 equity 1013570 = 383270 cash, exposure 630300   | 300 x 0.51 + 300 x 20.50
         3 order  #8 sell 300 PENNY @ 0.51
         3 order  #9 sell 300 STOCK @ 20.50
        | 0.49 - 0.03 is below the low of 0.47; 0.5 % of 141.00 is 0.705, a tie, to the even cent
         4 fill   #8 sell 300 PENNY @ 0.47 fee 70 amount +14030 cash 397300 position 0
         4 fill   #9 sell 300 STOCK @ 20.97 fee 150 amount +628950 cash 1026250 position 0
         4 equity 1026250 = 1026250 cash, exposure 0
        """,
    )
    small = run({"X": at(10, 10)}, [1, 0], FixedSize(50), **{**settings, "slippage": None})
    assert small.fills["commission"].tolist() == [1.0]  # 50 shares make 0.25


def test_shorts_turn_over_at_the_open() -> None:
    """Short 10, turned to long 10 by an order of 20, turned back, and bought back at a loss."""
    bars = [
        (50, 51, 49, 50),
        (52, 53, 51, 51),
        (48, 48, 47, 47),
        (46, 49, 45, 49),
        (55, 56, 54, 56),
        (120, 120, 118, 119),
        (130, 131, 129, 130),
    ]
    wishes = [-1, 0, 1, -1, 0, 1, 0]
    result = run({"X": bars}, wishes, FixedSize(10), cash=2_000, allow_short=True)
    check(
        result,
        """
         1 cash   +200000 = 200000 initial
         1 equity 200000 = 200000 cash, exposure 0
         1 order  #2 sell 10 X @ 50.00
         2 fill   #2 sell 10 X @ 52.00 fee 0 amount +52000 cash 252000 position -10
         2 equity 201000 = 252000 cash, exposure 51000     | 252000 - 10 x 51.00
         3 equity 205000 = 252000 cash, exposure 47000
         3 order  #6 buy 20 X @ 47.00         | 10 to close, 10 to open
         4 fill   #6 buy 20 X @ 46.00 fee 0 amount -92000 cash 160000 position 10
         4 equity 209000 = 160000 cash, exposure 49000
         4 order  #9 sell 20 X @ 49.00
         5 fill   #9 sell 20 X @ 55.00 fee 0 amount +110000 cash 270000 position -10
         5 equity 214000 = 270000 cash, exposure 56000
         6 equity 151000 = 270000 cash, exposure 119000
         6 order  #13 buy 20 X @ 119.00
         7 fill   #13 buy 20 X @ 130.00 fee 0 amount -260000 cash 10000 position 10
         7 equity 140000 = 10000 cash, exposure 130000     | 200000 + 6000 + 9000 - 75000
        """,
    )


def test_a_reversal_that_does_not_fit_is_an_exit_and_a_reject() -> None:
    """20 at 130.00 cost 2600 of the 2520: 10 close the short, the 10 of the entry are refused."""
    bars = [(50, 51, 49, 50), (52, 53, 51, 51), (130, 131, 129, 130), (130, 130, 130, 130)]
    result = run({"X": bars}, [-1, 1, 0, 0], FixedSize(10), cash=2_000, allow_short=True)
    check(
        result,
        """
         1 cash   +200000 = 200000 initial
         1 equity 200000 = 200000 cash, exposure 0
         1 order  #2 sell 10 X @ 50.00
         2 fill   #2 sell 10 X @ 52.00 fee 0 amount +52000 cash 252000 position -10
         2 equity 201000 = 252000 cash, exposure 51000
         2 order  #5 buy 20 X @ 51.00
         3 fill   #5 buy 10 X @ 130.00 fee 0 amount -130000 cash 122000 position 0
         3 reject #5 buy 10 X @ 130.00 insufficient_cash   | 1300 are more than the 1220 left
         3 equity 122000 = 122000 cash, exposure 0
         4 equity 122000 = 122000 cash, exposure 0
        """,
    )
    (order,) = result.orders.to_dict("records")[1:]
    assert (order["status"], order["quantity"], order["filled_quantity"]) == (
        "partially_filled",
        20,
        10,
    )
    assert order["reason"] == "insufficient_cash"


def turn_over(
    strength: Mapping[str, float], portfolio: Portfolio, bars: Mapping[str, Bar]
) -> dict[str, float]:
    """Short A, long B; then long A, without B."""
    day = portfolio.ts // DAY - FIRST + 1
    return {"A": -10.0, "B": 100.0} if day < 2 else {"A": 30.0, "B": 0.0}


def test_the_exit_of_another_symbol_pays_for_a_reversal() -> None:
    """A's order comes first and B's sale second; A's entry needs its cash, and waits for it."""
    bars = {"A": at(10, 10, 10), "B": at(10, 10, 10)}
    check(
        run(bars, [1, 1, 0], turn_over, cash=1_200, allow_short=True),
        """
         1 cash   +120000 = 120000 initial
         1 equity 120000 = 120000 cash, exposure 0
         1 order  #2 sell 10 A @ 10.00
         1 order  #3 buy 100 B @ 10.00
         2 fill   #2 sell 10 A @ 10.00 fee 0 amount +10000 cash 130000 position -10
         2 fill   #3 buy 100 B @ 10.00 fee 0 amount -100000 cash 30000 position 100
         2 equity 120000 = 30000 cash, exposure 110000
         2 order  #7 buy 40 A @ 10.00         | 10 to close, 30 to open: 400 of the 300 there are
         2 order  #8 sell 100 B @ 10.00
         3 fill   #7 buy 10 A @ 10.00 fee 0 amount -10000 cash 20000 position 0
         3 fill   #8 sell 100 B @ 10.00 fee 0 amount +100000 cash 120000 position 0
         3 fill   #7 buy 30 A @ 10.00 fee 0 amount -30000 cash 90000 position 30
         3 equity 120000 = 90000 cash, exposure 30000
        """,
    )


def test_all_in_turns_over_in_one_order() -> None:
    """What a position is worth pays for its other side, from long to short and back."""
    bars = {"X": at(10, 10, 10, 8, 8, 5, 5)}
    check(
        run(bars, [1, 0, -1, 0, 1, 0], AllIn(), cash=1_000, allow_short=True),
        """
         1 cash   +100000 = 100000 initial
         1 equity 100000 = 100000 cash, exposure 0
         1 order  #2 buy 100 X @ 10.00
         2 fill   #2 buy 100 X @ 10.00 fee 0 amount -100000 cash 0 position 100
         2 equity 100000 = 0 cash, exposure 100000
         3 equity 100000 = 0 cash, exposure 100000
         3 order  #6 sell 200 X @ 10.00       | 1000 close 100, and carry 100 on the other side
         4 fill   #6 sell 200 X @ 8.00 fee 0 amount +160000 cash 160000 position -100
         4 equity 80000 = 160000 cash, exposure 80000
         5 equity 80000 = 160000 cash, exposure 80000
         5 order  #10 buy 200 X @ 8.00        | nothing is free; 800 close 100, 800 buy 100
         6 fill   #10 buy 200 X @ 5.00 fee 0 amount -100000 cash 60000 position 100
         6 equity 110000 = 60000 cash, exposure 50000
         7 equity 110000 = 60000 cash, exposure 50000
        """,
    )


def test_a_short_needs_its_value_once_more_in_cash() -> None:
    """Proceeds are locked with like collateral: 1000 carries a short of 1000, not a cent more."""
    bars = [(90, 91, 90, 90), (100.01, 101, 100, 100), (100, 101, 99, 99)]
    result = run({"X": bars}, [-1, -1, 0], FixedSize(10), cash=1_000, allow_short=True)
    check(
        result,
        """
         1 cash   +100000 = 100000 initial
         1 equity 100000 = 100000 cash, exposure 0
         1 order  #2 sell 10 X @ 90.00
        | 100000 + 100010 of proceeds is less than twice 100010
         2 reject #2 sell 10 X @ 100.01 insufficient_collateral
         2 equity 100000 = 100000 cash, exposure 0
         2 order  #5 sell 10 X @ 100.00
         3 fill   #5 sell 10 X @ 100.00 fee 0 amount +100000 cash 200000 position -10
         3 equity 101000 = 200000 cash, exposure 99000
        """,
    )


def short_five(
    strength: Mapping[str, float], portfolio: Portfolio, bars: Mapping[str, Bar]
) -> dict[str, float]:
    """Ask for 5 short of everything."""
    return dict.fromkeys(strength, -5.0)


def test_a_short_that_is_not_allowed_is_refused() -> None:
    """A function that asks for a short gets a reject at once; a pulse below zero asks for flat."""
    result = run({"X": at(10, 10)}, [-1, 0], short_five, cash=1_000)
    check(
        result,
        """
         1 cash   +100000 = 100000 initial
         1 equity 100000 = 100000 cash, exposure 0
         1 reject #2 sell 5 X @ 10.00 short_not_allowed
         2 equity 100000 = 100000 cash, exposure 0
        """,
    )
    flat = run({"X": at(10, 10)}, [-1, 0], FixedSize(5), cash=1_000)
    assert set(flat.events["kind"].to_pylist()) == {"cash", "equity"}


def test_what_the_cash_does_not_pay_is_rejected_whole() -> None:
    """10 at 100.00 and 1.00 of fee do not fit into 1000, 10 at 99.90 do, to the cent."""
    bars = [(99, 99, 99, 99), (100, 100, 99.95, 99.95), (99.9, 99.95, 99.9, 99.95)]
    result = run({"X": bars}, [1, 1, 1], FixedSize(10), cash=1_000, commission=1)
    check(
        result,
        """
         1 cash   +100000 = 100000 initial
         1 equity 100000 = 100000 cash, exposure 0
         1 order  #2 buy 10 X @ 99.00
         2 reject #2 buy 10 X @ 100.00 insufficient_cash
         2 equity 100000 = 100000 cash, exposure 0
         2 order  #5 buy 10 X @ 99.95
         3 fill   #5 buy 10 X @ 99.90 fee 100 amount -100000 cash 0 position 10
         3 equity 99950 = 0 cash, exposure 99950
        """,
    )


def test_all_in_shrinks_to_the_cash_at_a_gap() -> None:
    """10 at 105.00 and the fee cost 1051: 9 are bought; a short shrinks likewise."""
    bars = [(100, 100, 100, 100), (105, 105, 105, 105), (110, 110, 110, 110), (111, 111, 111, 111)]
    result = run({"X": bars}, [1, 1, -1, 0], AllIn(), cash=1_000, commission=1)
    check(
        result,
        """
         1 cash   +100000 = 100000 initial
         1 equity 100000 = 100000 cash, exposure 0
         1 order  #2 buy 10 X @ 100.00
         2 fill   #2 buy 9 X @ 105.00 fee 100 amount -94600 cash 5400 position 9
         2 equity 99900 = 5400 cash, exposure 94500
         3 equity 104400 = 5400 cash, exposure 99000
         3 order  #6 sell 9 X @ 110.00
         4 fill   #6 sell 9 X @ 111.00 fee 100 amount +99800 cash 105200 position 0
         4 equity 105200 = 105200 cash, exposure 0
        """,
    )
    assert result.orders["quantity"].tolist() == [10, 9]
    assert result.orders["filled_quantity"].tolist() == [9, 9]
    short = run({"X": bars}, [-1, 0], AllIn(), cash=1_000, commission=1, allow_short=True)
    assert lines(short)[3] == (  # 1000 + 945 - 1 carries twice 945, and not twice 1050
        "2 fill   #2 sell 9 X @ 105.00 fee 100 amount +94400 cash 194400 position -9"
    )


def test_a_missing_bar_delays_its_symbol_alone() -> None:
    """B has no bar on day 3: its order waits for day 4, behind the exit of A that pays for it."""
    a = [(10, 10, 10, 10), (10, 11, 10, 11), (12, 12, 12, 12), (13, 13, 13, 13), (14, 14, 14, 14)]
    b = [(20, 20, 20, 20), (20, 20, 20, 20), None, (22, 22, 21, 21), None]
    result = run({"A": a, "B": b}, [0, 1, -1, 0, -1], FixedSize(5), cash=1_000)
    check(
        result,
        """
         1 cash   +100000 = 100000 initial
         1 equity 100000 = 100000 cash, exposure 0
         2 equity 100000 = 100000 cash, exposure 0
         2 order  #3 buy 5 A @ 11.00
         2 order  #4 buy 5 B @ 20.00
         3 fill   #3 buy 5 A @ 12.00 fee 0 amount -6000 cash 94000 position 5
         3 equity 100000 = 94000 cash, exposure 6000
         3 order  #7 sell 5 A @ 12.00         | B's pulse of day 3 has no bar and asks nothing
         4 fill   #7 sell 5 A @ 13.00 fee 0 amount +6500 cash 100500 position 0
         4 fill   #4 buy 5 B @ 22.00 fee 0 amount -11000 cash 89500 position 5
         4 equity 100000 = 89500 cash, exposure 10500
         5 equity 100000 = 89500 cash, exposure 10500      | B at its last close
        """,
    )


def rotate(
    strength: Mapping[str, float], portfolio: Portfolio, bars: Mapping[str, Bar]
) -> dict[str, float]:
    """Hold B from day 1 and A from day 3, with all the cash there is at 10."""
    day = portfolio.ts // DAY - FIRST + 1
    return {"B": 100.0} if day < 3 else {"A": 100.0, "B": 0.0}


def test_an_exit_pays_for_an_entry_of_the_same_slice() -> None:
    """A's purchase has the lower id, and still comes after B's sale, whose cash it needs."""
    bars = {"A": at(10, 10, 10, 10), "B": at(10, 10, 10, 10.5)}
    check(
        run(bars, [1, 0, 1, 0], rotate, cash=1_000),
        """
         1 cash   +100000 = 100000 initial
         1 equity 100000 = 100000 cash, exposure 0
         1 order  #2 buy 100 B @ 10.00
         2 fill   #2 buy 100 B @ 10.00 fee 0 amount -100000 cash 0 position 100
         2 equity 100000 = 0 cash, exposure 100000
         3 equity 100000 = 0 cash, exposure 100000
         3 order  #6 buy 100 A @ 10.00
         3 order  #7 sell 100 B @ 10.00
         4 fill   #7 sell 100 B @ 10.50 fee 0 amount +105000 cash 105000 position 0
         4 fill   #6 buy 100 A @ 10.00 fee 0 amount -100000 cash 5000 position 100
         4 equity 105000 = 5000 cash, exposure 100000
        """,
    )


@pytest.mark.parametrize(("last", "cash"), [(115, 115_000), (85, 85_000)])
def test_the_playground(last: int, cash: int) -> None:
    """[0, 100, 115]: 0 is no price; 10 ordered at the start fill at 100, and are sold at 115."""
    times = [f"2020-01-0{day}" for day in (1, 2, 3)]
    rows = [
        {
            "symbol": "X",
            "ts": ts,
            **dict.fromkeys(("open", "high", "low", "close"), price),
            "volume": 0,
        }
        for ts, price in zip(times, (0, 100, last), strict=True)
    ]
    taken = intake(rows, interval="1d", tz="UTC")
    assert taken.quarantine["reason"].to_pylist() == ["non_positive_price"]
    assert (taken.counts.read, taken.counts.accepted, taken.counts.rejected) == (3, 2, 1)
    prices = [(price,) * 4 for price in taken.bars.open.tolist()]
    result = run({"X": prices}, [-1, 0], FixedSize(10), cash=1_000, opening={"X": 10})
    check(
        result,
        f"""
         1 cash   +100000 = 100000 initial
         1 order  #1 buy 10 X @ -             | decided at the start, before any price
         1 fill   #1 buy 10 X @ 100.00 fee 0 amount -100000 cash 0 position 10
         1 equity 100000 = 0 cash, exposure 100000
         1 order  #4 sell 10 X @ 100.00
         2 fill   #4 sell 10 X @ {last}.00 fee 0 amount +{cash} cash {cash} position 0
         2 equity {cash} = {cash} cash, exposure 0
        """,
    )
