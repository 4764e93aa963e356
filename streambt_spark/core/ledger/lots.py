"""Open lots: the fills of one lane that are not closed yet, matched first in, first out.

A fill that reduces a position closes its symbol's oldest open lots first. Cash and commission of a
fill are shared out over its parts by cumulative rounding: after each part, the sum given is the
exact share rounded half-even, and the last part takes the rest. So every part is within one minor
unit of its exact share, and the parts sum to the fill.

For each fill: `enter` it, `close` the lots that `oldest` finds one after the other, then `settle`
it: what is left of it is a lot itself. Every fill takes a row, so `enter` needs a free one;
`with_room` makes more, outside of compiled code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from streambt_spark.core.records import record_of
from streambt_spark.core.rounding import round_minor

if TYPE_CHECKING:
    from numpy.typing import NDArray

DUST = 1e-12
"""A rest below this share of a fill's quantity is float rounding of fractional lots: it is none."""

LOT = record_of(
    ("fill", np.int64),  # the fill's number in its lane, from 0
    ("ts", np.int64),  # UTC microseconds
    ("side", np.int64),  # 1 long, -1 short
    ("quantity", np.float64),  # of the fill
    ("rest", np.float64),  # of it, what is open
    ("amount", np.int64),  # minor units by which the fill changed cash
    ("commission", np.int64),
    ("amount_given", np.int64),  # of them, what the closed parts have taken
    ("commission_given", np.int64),
    ("after", np.int64),  # the symbol's next lot, or the next free row; -1 for none
)

FREE, ROOM = range(2)
_OLDEST, _NEWEST = range(2)


class Lots(NamedTuple):
    """The open lots of a lane over S symbols. Compiled functions write into it."""

    rows: NDArray[np.void]  # [N] LOT
    queues: NDArray[np.int64]  # [S, 2] rows of the oldest and the newest lot; -1 for none
    free: NDArray[np.int64]  # the first free row, and how many there are


def open_lots(symbols: int, room: int = 0) -> Lots:
    """Return no lots, with room for some."""
    empty = Lots(np.zeros(0, LOT), np.full((symbols, 2), -1), np.array([-1, 0]))
    return with_room(empty, room)


def with_room(lots: Lots, fills: int) -> Lots:
    """Return the lots with free rows for `fills` fills at least."""
    count, missing = len(lots.rows), fills - int(lots.free[ROOM])
    if missing <= 0:
        return lots
    added = np.zeros(max(missing, count), LOT)
    added["after"] = np.arange(count + 1, count + len(added) + 1)
    added["after"][-1] = lots.free[FREE]
    free = np.array([count, lots.free[ROOM] + len(added)])
    return Lots(np.concatenate((lots.rows, added)), lots.queues, free)


@njit(cache=True)
def enter(lots, fill, ts, side, quantity, commission, amount):  # type: ignore[no-untyped-def]
    """Put a fill into a free row and return the row."""
    row = lots.free[FREE]
    lot = lots.rows[row]
    lots.free[FREE] = lot.after
    lots.free[ROOM] -= 1
    lot.fill = fill
    lot.ts = ts
    lot.side = side
    lot.quantity = quantity
    lot.rest = quantity
    lot.amount = amount
    lot.commission = commission
    lot.amount_given = 0
    lot.commission_given = 0
    lot.after = -1
    return row


@njit(cache=True)
def oldest(lots, symbol, row):  # type: ignore[no-untyped-def]
    """Return the row of the oldest lot that the fill in `row` closes, -1 for none."""
    first = lots.queues[symbol, _OLDEST]
    if first < 0 or lots.rows[row].rest <= 0 or lots.rows[first].side == lots.rows[row].side:
        return -1
    return first


@njit(cache=True)
def close(lots, symbol, first, row):  # type: ignore[no-untyped-def]
    """Close what the fill in `row` can of the symbol's oldest lot, in row `first`.

    Returns the quantity, the entry's cash and commission, and the exit's, in minor units. A lot
    that is closed leaves its row, which keeps its values until the next fill enters.
    """
    size = min(lots.rows[row].rest, lots.rows[first].rest)
    entry_amount, entry_commission = _take(lots.rows[first], size)
    exit_amount, exit_commission = _take(lots.rows[row], size)
    if lots.rows[first].rest == 0:
        lots.queues[symbol, _OLDEST] = lots.rows[first].after
        _release(lots, first)
    return size, entry_amount, entry_commission, exit_amount, exit_commission


@njit(cache=True)
def settle(lots, symbol, row):  # type: ignore[no-untyped-def]
    """Make what is left of the fill in `row` the symbol's newest lot, or free the row."""
    if lots.rows[row].rest <= 0:
        _release(lots, row)
        return
    if lots.queues[symbol, _OLDEST] < 0:
        lots.queues[symbol, _OLDEST] = row
    else:
        lots.rows[lots.queues[symbol, _NEWEST]].after = row
    lots.queues[symbol, _NEWEST] = row


@njit(cache=True)
def _take(lot, size):  # type: ignore[no-untyped-def]
    """Take a quantity off a lot and return the cash and the commission that go with it."""
    lot.rest -= size
    if lot.rest <= DUST * lot.quantity:
        lot.rest = 0.0
    amount = _due(lot.amount, lot) - lot.amount_given
    commission = _due(lot.commission, lot) - lot.commission_given
    lot.amount_given += amount
    lot.commission_given += commission
    return amount, commission


@njit(cache=True)
def _due(total, lot):  # type: ignore[no-untyped-def]
    """Return what all closed parts of a fill have to take of a total."""
    if lot.rest == 0:
        return total
    return round_minor(total * (lot.quantity - lot.rest) / lot.quantity)


@njit(cache=True)
def _release(lots, row):  # type: ignore[no-untyped-def]
    lots.rows[row].after = lots.free[FREE]
    lots.free[FREE] = row
    lots.free[ROOM] += 1
