"""Posting: the only code that changes cash and positions, and that writes events.

An event is composed in the next record of the tape and stays there if its lane records its kind;
otherwise the next one is written over it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import njit

from streambt_spark.core.broker.orders import end, write_market_order
from streambt_spark.core.broker.recording import Policy, observe_equity, observe_fill
from streambt_spark.core.ledger.fields import REASONS, REGISTRY, Kind

if TYPE_CHECKING:
    from streambt_spark.core.broker.records import Record, Records

_BLANK = REGISTRY.blank
_CASH, _ORDER, _FILL, _REJECT, _EQUITY, _DISABLED = (
    int(k) for k in (Kind.CASH, Kind.ORDER, Kind.FILL, Kind.REJECT, Kind.EQUITY, Kind.DISABLED)
)
_INITIAL = REASONS.index("initial")
_METRICS = int(Policy.METRICS)
_HOME = 0
"""The one currency of an account, as its cash is indexed."""


@njit(cache=True, inline="always")
def begin(tape: Records, n: int, ts: int, kind: int, account: Record, terms: Record) -> Record:
    """Start the event `n`, all null but for its time, number and kind, and return it."""
    tape[n] = _BLANK[0]
    event = tape[n]
    event.lane = terms.lane
    event.ts = ts
    event.seq = account.seq
    event.kind = kind
    return event


@njit(cache=True, inline="always")
def keep(n: int, kind: int, account: Record, terms: Record) -> int:
    """Return the number of events, with the one just composed if its kind is recorded."""
    account.number += 1
    if (terms.kinds >> kind) & 1 == 0:
        return n
    account.seq += 1
    return n + 1


@njit(cache=True)
def post_start(tape: Records, n: int, ts: int, account: Record, terms: Record) -> int:
    """Post the start cash; return the number of events."""
    account.started = 1
    account.cash[_HOME] = terms.start_cash
    event = begin(tape, n, ts, _CASH, account, terms)
    event.amount = event.cash = terms.start_cash
    event.currency = terms.currency
    event.reason = _INITIAL
    return keep(n, _CASH, account, terms)


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
    if terms.policy == _METRICS:
        observe_fill(event, account)
    return keep(n, _FILL, account, terms)


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
    return keep(n, _REJECT, account, terms)


@njit(cache=True)
def post_order(
    tape: Records,
    n: int,
    ts: int,
    symbol: int,
    lots: int,
    price: float,
    orders: Records,
    account: Record,
    position: Record,
    terms: Record,
    traded: Record,
) -> int:
    """Place a market order of some lots, below zero for a sale; return the number of events.

    Its id is the number that its event has in a full ledger. `price` is what it was sized at.
    """
    order = orders[account.orders]
    write_market_order(order, account.number, symbol, lots, ts)
    account.orders += 1
    position.working += lots
    event = begin(tape, n, ts, _ORDER, account, terms)
    event.symbol = symbol
    event.side = order.side
    event.order_id = order.id
    event.quantity = order.lots * traded.lot_num / traded.lot_den
    event.price = price
    return keep(n, _ORDER, account, terms)


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
    event.order_id = account.number
    event.quantity = quantity
    event.price = price
    event.reason = reason
    return keep(n, _REJECT, account, terms)


@njit(cache=True)
def post_equity(
    tape: Records,
    n: int,
    ts: int,
    value: int,
    exposure: int,
    session: int,
    account: Record,
    terms: Record,
) -> int:
    """Post what an account is worth after a slice; return the number of events.

    `value` is that of all positions, `exposure` their gross value.
    """
    account.last_ts = ts
    account.last_cash = account.cash[_HOME]
    account.last_equity = account.last_cash + value
    account.last_exposure = exposure
    _write_equity(tape, n, account, terms)
    if terms.policy == _METRICS:
        observe_equity(tape[n], session, account)
    return keep(n, _EQUITY, account, terms)


@njit(cache=True)
def post_session(tape: Records, n: int, account: Record, terms: Record) -> int:
    """Post what an account was worth after its last slice, for a session that is over.

    A full ledger has told it at that slice, so it takes no number of its own there.
    """
    _write_equity(tape, n, account, terms)
    account.seq += 1
    return n + 1


@njit(cache=True, inline="always")
def _write_equity(tape: Records, n: int, account: Record, terms: Record) -> None:
    event = begin(tape, n, account.last_ts, _EQUITY, account, terms)
    event.currency = terms.currency
    event.cash = account.last_cash
    event.equity = account.last_equity
    event.exposure = account.last_exposure


@njit(cache=True)
def post_disabled(
    tape: Records, n: int, ts: int, reason: int, text: int, account: Record, terms: Record
) -> int:
    """Disable the account: it places no more orders. Return the number of events."""
    account.disabled = 1
    event = begin(tape, n, ts, _DISABLED, account, terms)
    event.reason = reason
    event.text = text
    return keep(n, _DISABLED, account, terms)
