"""Round trips against a naive first-in-first-out book in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streambt_spark.core.ledger.trades import Fills, match_fills

Row = tuple[int, int, int, int, int]
ROWS = st.lists(
    st.tuples(
        st.integers(0, 2),  # symbol
        st.sampled_from((1, -1)),
        st.integers(1, 40),  # eighths of a share
        st.integers(1, 50_000),  # price in cents
        st.integers(0, 999),  # commission in cents
    ),
    min_size=1,
    max_size=40,
)


def fills_of(rows: list[Row]) -> Fills:
    """Return the rows as fills a second apart; cash is rounded half-even, as the broker's is."""
    symbol, side, eighths, cents, fee = (list(c) for c in zip(*rows, strict=True))
    gross = [round(Fraction(q * p, 8)) for q, p in zip(eighths, cents, strict=True)]
    return Fills(
        ts=np.arange(len(rows), dtype=np.int64) * 1_000_000,
        symbol=np.array(symbol, np.int32),
        side=np.array(side, np.int8),
        quantity=np.array(eighths) / 8,
        price=np.array(cents) / 100,
        commission=np.array(fee, np.int64),
        amount=np.array([-s * g - f for s, g, f in zip(side, gross, fee, strict=True)], np.int64),
    )


class Part:
    """One fill, with what is left of it and the cents it has handed out."""

    def __init__(self, fills: Fills, index: int) -> None:
        self.index, self.side = index, int(fills.side[index])
        self.whole = self.left = Fraction(float(fills.quantity[index]))
        self.totals = (int(fills.amount[index]), int(fills.commission[index]))
        self.given = [0, 0]

    def take(self, size: Fraction) -> tuple[int, int]:
        """Take a part off and return its cash and commission, by cumulative rounding."""
        self.left -= size
        due = [round(total * (self.whole - self.left) / self.whole) for total in self.totals]
        parts = (due[0] - self.given[0], due[1] - self.given[1])
        self.given = due
        return parts


def naive(fills: Fills) -> tuple[list[tuple[int, int, Fraction, int, int]], list[Part]]:
    """Return trades as (entry, exit, quantity, pnl, commission) and the open parts."""
    books: dict[int, list[Part]] = {}
    trades = []
    for i in range(len(fills)):
        book, new = books.setdefault(int(fills.symbol[i]), []), Part(fills, i)
        while new.left and book and book[0].side != new.side:
            size = min(new.left, book[0].left)
            lot = book[0]
            (cash, fee), (more_cash, more_fee) = lot.take(size), new.take(size)
            trades.append((lot.index, i, size, cash + more_cash, fee + more_fee))
            if not lot.left:
                book.pop(0)
        if new.left:
            book.append(new)
    return trades, sorted((p for b in books.values() for p in b), key=lambda part: part.index)


@settings(max_examples=300, deadline=None)
@given(ROWS)
def test_kernel_equals_naive_book(rows: list[Row]) -> None:
    """The kernel's trades and open lots are those of the exact book, to the cent."""
    fills = fills_of(rows)
    trades, left = match_fills(fills)
    expected, expected_left = naive(fills)
    seconds = 1_000_000
    found = zip(
        (trades.entry_ts // seconds).tolist(),
        (trades.exit_ts // seconds).tolist(),
        map(Fraction, trades.quantity.tolist()),
        trades.pnl.tolist(),
        trades.commission.tolist(),
        strict=True,
    )
    assert list(found) == expected
    assert (left.entry_ts // seconds).tolist() == [part.index for part in expected_left]
    assert left.quantity.tolist() == [float(part.left) for part in expected_left]


DECIMALS = st.lists(
    st.tuples(
        st.sampled_from((1, -1)),
        st.integers(1, 10**6),
        st.integers(1, 10**9),
        st.integers(0, 10**6),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(DECIMALS)
def test_no_cent_is_lost(rows: list[tuple[int, int, int, int]]) -> None:
    """Whatever the fractional lots, trades and open lots sum to the fills exactly."""
    side, micros, cash, fee = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    fills = Fills(
        ts=np.arange(len(rows), dtype=np.int64),
        symbol=np.zeros(len(rows), np.int32),
        side=side.astype(np.int8),
        quantity=micros / 10**6,
        price=np.ones(len(rows)),
        commission=fee,
        amount=-side * cash - fee,
    )
    trades, left = match_fills(fills)
    assert trades.pnl.sum() + left.amount.sum() == fills.amount.sum()
    assert trades.commission.sum() + left.commission.sum() == fills.commission.sum()
    held = (left.side * left.quantity).sum()
    assert abs(held - int((side * micros).sum()) / 10**6) <= 1e-6
    assert np.all(trades.quantity > 0)
