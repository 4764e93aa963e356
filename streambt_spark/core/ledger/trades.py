"""Closed round trips: the fills of one lane, matched first in, first out.

A trade is one match of an entry fill with an exit fill, so a lot closed in three parts is three
trades, and a fill that closes two lots is two; a fill larger than the position closes it and opens
the rest on the other side. How the lots are kept, and cash and commission shared out, is in `lots`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from streambt_spark.core.ledger.lots import close, enter, oldest, open_lots, settle

if TYPE_CHECKING:
    from numpy.typing import NDArray


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

    def take(self, rows: slice) -> Fills:
        """Return some of the fills."""
        return Fills(*(getattr(self, name)[rows] for name in self.__slots__))


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
    lots = open_lots(int(fills.symbol.max(initial=-1)) + 1, len(fills))
    matches = _match(
        lots, fills.ts, fills.symbol, fills.side, fills.quantity, fills.commission, fills.amount
    )
    rows = lots.rows[np.argsort(lots.rows["fill"], kind="stable")]
    rows = rows[rows["rest"] > 0]
    still_open = OpenLots(
        symbol=fills.symbol[rows["fill"]],
        side=fills.side[rows["fill"]],
        quantity=rows["rest"],
        entry_ts=rows["ts"],
        entry_price=fills.price[rows["fill"]],
        amount=rows["amount"] - rows["amount_given"],
        commission=rows["commission"] - rows["commission_given"],
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
def _match(lots, ts, symbol, side, quantity, commission, amount):  # type: ignore[no-untyped-def]
    """Match fills and return the matches: entry, exit, quantity, parts.

    Every match uses up a lot or ends its fill, and a fill that opens a lot used up the lots before
    it, so there are at most as many matches as fills.
    """
    count = len(ts)
    entry, leave = np.empty(count, np.int64), np.empty(count, np.int64)
    sizes, parts = np.empty(count), np.empty((2, 2, count), np.int64)
    at = 0
    for n in range(count):
        row = enter(lots, n, ts[n], side[n], quantity[n], commission[n], amount[n])
        lot = oldest(lots, symbol[n], row)
        while lot >= 0:
            entry[at], leave[at] = lots.rows[lot].fill, n
            taken = close(lots, symbol[n], lot, row)
            sizes[at] = taken[0]
            parts[0, 0, at], parts[0, 1, at] = taken[1], taken[2]
            parts[1, 0, at], parts[1, 1, at] = taken[3], taken[4]
            at += 1
            lot = oldest(lots, symbol[n], row)
        settle(lots, symbol[n], row)
    return entry[:at], leave[:at], sizes[:at], parts[:, :, :at]
