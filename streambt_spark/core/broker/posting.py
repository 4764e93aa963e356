"""Posting: the only code that changes cash and positions, each time with the event of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import njit

from streambt_spark.core.broker.orders import end
from streambt_spark.core.ledger.fields import REASONS, REGISTRY, Kind

if TYPE_CHECKING:
    from streambt_spark.core.records import Record, Records

_BLANK = REGISTRY.blank
_CASH, _ORDER, _FILL, _REJECT, _EQUITY, _DISABLED = (
    int(k) for k in (Kind.CASH, Kind.ORDER, Kind.FILL, Kind.REJECT, Kind.EQUITY, Kind.DISABLED)
)
_INITIAL = REASONS.index("initial")
_HOME = 0
"""The one currency of an account, as its cash is indexed."""


@njit(cache=True, inline="always")
def begin(tape: Records, n: int, ts: int, kind: int, account: Record, terms: Record) -> Record:
    """Write event `n`, all null but for its time, number and kind, and return it."""
    tape[n] = _BLANK[0]
    event = tape[n]
    event.lane = terms.lane
    event.ts = ts
    event.seq = account.seq
    event.kind = kind
    account.seq += 1
    return event


@njit(cache=True)
def post_start(tape: Records, n: int, ts: int, account: Record, terms: Record) -> int:
    """Post the start cash; return the number of events."""
    account.started = 1
    account.cash[_HOME] = terms.start_cash
    event = begin(tape, n, ts, _CASH, account, terms)
    event.amount = event.cash = terms.start_cash
    event.currency = terms.currency
    event.reason = _INITIAL
    return n + 1


@njit(cache=True)
def post_fill(
    tape: Records,
    n: int,
    ts: int,
    order: Record,
    lots: int,
    price: float,
    amount: int,
    fee: int,
    account: Record,
    position: Record,
    terms: Record,
    traded: Record,
) -> int:
    """Post a fill of some lots of an order, below zero for a sale; return the number of events.

    `amount` is what the cash changes by, the commission `fee` included.
    """
    before = position.lots
    account.cash[_HOME] += amount
    position.lots += lots
    position.working -= lots
    position.mark = price
    account.shorts += (position.lots < 0) - (before < 0)
    order.filled += abs(lots)
    event = begin(tape, n, ts, _FILL, account, terms)
    event.symbol = order.symbol
    event.side = order.side
    event.order_id = order.id
    event.quantity = abs(lots) * traded.lot_num / traded.lot_den
    event.price = price
    event.commission = fee
    event.amount = amount
    event.currency = terms.currency
    event.cash = account.cash[_HOME]
    event.position = position.lots * traded.lot_num / traded.lot_den
    return n + 1


@njit(cache=True, inline="always")
def close_order(order: Record, position: Record) -> None:
    """End an order: what is left of it works no longer."""
    position.working -= order.side * (order.lots - order.filled)
    end(order)


@njit(cache=True)
def post_reject(
    tape: Records,
    n: int,
    ts: int,
    order: Record,
    price: float,
    reason: int,
    account: Record,
    position: Record,
    terms: Record,
    traded: Record,
) -> int:
    """End an order whose rest does not fill; return the number of events."""
    rest = order.lots - order.filled
    close_order(order, position)
    event = begin(tape, n, ts, _REJECT, account, terms)
    event.symbol = order.symbol
    event.side = order.side
    event.order_id = order.id
    event.quantity = rest * traded.lot_num / traded.lot_den
    event.price = price
    event.reason = reason
    return n + 1


@njit(cache=True)
def post_order(
    tape: Records,
    n: int,
    order: Record,
    price: float,
    account: Record,
    position: Record,
    terms: Record,
    traded: Record,
) -> int:
    """Take in an order, the next of the account's; return the number of events.

    Its id is the number of its event. `price` is what it was sized at.
    """
    order.id = account.seq
    account.orders += 1
    position.working += order.side * order.lots
    event = begin(tape, n, order.created, _ORDER, account, terms)
    event.symbol = order.symbol
    event.side = order.side
    event.order_id = order.id
    event.quantity = order.lots * traded.lot_num / traded.lot_den
    event.price = price
    return n + 1


@njit(cache=True)
def post_refusal(
    tape: Records,
    n: int,
    ts: int,
    symbol: int,
    side: int,
    quantity: float,
    price: float,
    reason: int,
    account: Record,
    terms: Record,
) -> int:
    """Tell of an order that is not placed; return the number of events."""
    event = begin(tape, n, ts, _REJECT, account, terms)
    event.symbol = symbol
    event.side = side
    event.order_id = event.seq
    event.quantity = quantity
    event.price = price
    event.reason = reason
    return n + 1


@njit(cache=True)
def post_equity(
    tape: Records,
    n: int,
    ts: int,
    value: int,
    exposure: int,
    account: Record,
    terms: Record,
) -> int:
    """Post what an account is worth after a slice; return the number of events.

    `value` is that of all positions, `exposure` their gross value.
    """
    account.last_equity = account.cash[_HOME] + value
    account.last_exposure = exposure
    event = begin(tape, n, ts, _EQUITY, account, terms)
    event.currency = terms.currency
    event.cash = account.cash[_HOME]
    event.equity = account.last_equity
    event.exposure = exposure
    return n + 1


@njit(cache=True)
def post_disabled(
    tape: Records, n: int, ts: int, reason: int, text: int, account: Record, terms: Record
) -> int:
    """Disable the account: it places no more orders. Return the number of events."""
    account.disabled = 1
    event = begin(tape, n, ts, _DISABLED, account, terms)
    event.reason = reason
    event.text = text
    return n + 1
