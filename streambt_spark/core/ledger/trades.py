"""Closed round trips: the fills of one lane, matched first in, first out.

Each fill that reduces a position closes that symbol's oldest open lots first; a fill larger than
the position closes it and opens the rest on the other side. A trade is one match of an entry fill
with an exit fill, so a lot closed in three parts is three trades, and a fill that closes two lots
is two. Cash and commission of a fill are shared out over its parts by cumulative rounding: after
each part, the sum handed out is the exact share rounded half-even, and the last part takes the
rest. So every part is within one cent of its exact share, and the parts sum to the fill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from streambt_spark.core.broker.money import round_minor
from streambt_spark.core.ledger.fields import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.ledger.events import Events

DUST = 1e-12
"""A rest below this share of a fill's quantity is float rounding of fractional lots: it is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Fills:
    """N fills of one lane as columns, in ledger order."""

    ts: NDArray[np.int64]  # UTC microseconds
    symbol: NDArray[np.int32]  # index into the universe
    side: NDArray[np.int8]  # 1 buy, -1 sell
    quantity: NDArray[np.float64]  # positive
    price: NDArray[np.float64]
    commission: NDArray[np.int64]  # cents
    amount: NDArray[np.int64]  # cents the fill changed cash by, its commission included

    def __len__(self) -> int:
        return len(self.ts)

    @classmethod
    def of(cls, events: Events, lane: int) -> Fills:
        """Return the fills among the events of a lane, given by its index."""
        rows = np.flatnonzero((events.kind == Kind.FILL) & (events.lane == lane))
        names = ("ts", "symbol", "side", "quantity", "price", "commission", "amount")
        return cls(*(getattr(events, name)[rows] for name in names))

    def traded_value(self) -> int:
        """Return the value bought and sold, in cents, commissions excluded."""
        return int(np.abs(self.amount + self.commission).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """N closed round trips as columns, ordered by exit, then by entry."""

    symbol: NDArray[np.int32]  # index into the universe
    side: NDArray[np.int8]  # 1 long, -1 short
    quantity: NDArray[np.float64]  # positive
    entry_ts: NDArray[np.int64]  # UTC microseconds
    entry_price: NDArray[np.float64]
    exit_ts: NDArray[np.int64]
    exit_price: NDArray[np.float64]
    pnl: NDArray[np.int64]  # cents, net of commission: the cash the round trip brought
    commission: NDArray[np.int64]  # cents, of entry and exit
    held: NDArray[np.int64]  # microseconds from entry to exit
    returns: NDArray[np.float64]  # pnl over the entry's value; NaN where that value is 0

    def __len__(self) -> int:
        return len(self.symbol)


@dataclass(frozen=True, slots=True, eq=False)
class OpenLots:
    """What the trades left open, as columns, ordered by entry."""

    symbol: NDArray[np.int32]
    side: NDArray[np.int8]  # 1 long, -1 short
    quantity: NDArray[np.float64]  # positive
    entry_ts: NDArray[np.int64]
    entry_price: NDArray[np.float64]
    amount: NDArray[np.int64]  # cents of the entry's cash change that no trade has taken
    commission: NDArray[np.int64]  # cents, likewise

    def __len__(self) -> int:
        return len(self.symbol)


def match_fills(fills: Fills) -> tuple[Trades, OpenLots]:
    """Return the closed round trips and the open lots of a lane's fills.

    Exact in cents: Σ trades.pnl + Σ open.amount = Σ fills.amount, and the same for commissions.
    """
    totals = np.stack((fills.amount, fills.commission))
    given = np.zeros_like(totals)
    rest = np.zeros(len(fills))
    matches = _match(fills.symbol, fills.side, fills.quantity, totals, given, rest)
    lots = np.flatnonzero(rest)
    amount, commission = (totals - given)[:, lots]
    still_open = OpenLots(
        symbol=fills.symbol[lots],
        side=fills.side[lots],
        quantity=rest[lots],
        entry_ts=fills.ts[lots],
        entry_price=fills.price[lots],
        amount=amount,
        commission=commission,
    )
    return _trades(fills, *matches), still_open


def _trades(
    fills: Fills,
    entry: NDArray[np.int64],
    leave: NDArray[np.int64],
    quantity: NDArray[np.float64],
    parts: NDArray[np.int64],
) -> Trades:
    """Return the matches as trades; `parts` is [entry or exit, cash or commission, N] in cents."""
    pnl, commission = parts.sum(axis=0)
    value = np.abs(parts[0].sum(axis=0)).astype(np.float64)
    value[value == 0] = np.nan
    return Trades(
        symbol=fills.symbol[entry],
        side=fills.side[entry],
        quantity=quantity,
        entry_ts=fills.ts[entry],
        entry_price=fills.price[entry],
        exit_ts=fills.ts[leave],
        exit_price=fills.price[leave],
        pnl=pnl,
        commission=commission,
        held=fills.ts[leave] - fills.ts[entry],
        returns=pnl / value,
    )


@njit(cache=True)
def _match(symbol, side, quantity, totals, given, rest):  # type: ignore[no-untyped-def]
    """Match fills; `given` [2, N] and `rest` [N] take the cents handed out and what is left open.

    Every match uses up a lot or ends its fill, and a fill that opens a lot used up the lots before
    it, so there are at most N matches. A symbol's open lots are a linked list of fill numbers.
    """
    count = len(symbol)
    entry, leave = np.empty(count, np.int64), np.empty(count, np.int64)
    sizes, parts = np.empty(count), np.empty((2, 2, count), np.int64)
    symbols = symbol.max() + 1 if count else 0
    head, tail, after = np.full(symbols, -1), np.full(symbols, -1), np.full(count, -1)
    found = 0
    for new in range(count):
        code = symbol[new]
        rest[new] = quantity[new]
        while rest[new] > 0 and head[code] >= 0 and side[head[code]] != side[new]:
            lot = head[code]
            size = min(rest[new], rest[lot])
            _take(size, lot, quantity, rest, totals, given, parts[0, :, found])
            _take(size, new, quantity, rest, totals, given, parts[1, :, found])
            entry[found], leave[found], sizes[found] = lot, new, size
            found += 1
            if rest[lot] == 0:
                head[code] = after[lot]
        if rest[new] > 0:
            if head[code] < 0:
                head[code] = new
            else:
                after[tail[code]] = new
            tail[code] = new
    return entry[:found], leave[:found], sizes[:found], parts[:, :, :found]


@njit(cache=True)
def _take(size, fill, quantity, rest, totals, given, part):  # type: ignore[no-untyped-def]
    """Take `size` off a fill and write the cash and the commission that go with it to `part`."""
    whole = quantity[fill]
    rest[fill] -= size
    if rest[fill] <= DUST * whole:
        rest[fill] = 0.0
    for k in range(2):
        total = totals[k, fill]
        due = total if rest[fill] == 0 else round_minor(total * (whole - rest[fill]) / whole)
        part[k] = due - given[k, fill]
        given[k, fill] = due
