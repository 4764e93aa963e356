"""The auditor: what every ledger must satisfy, checked from the ledger and the bars alone.

It shares no code with the broker. Values are exact: decimals as fractions, rounded half to even.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from streambt_spark.core.broker.slippage import Slippage
from streambt_spark.core.ledger.fields import NULL, REASONS, REGISTRY, Kind
from streambt_spark.core.market.bars import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from streambt_spark.core.ledger.events import Events
    from streambt_spark.core.market.bars import Bars
    from streambt_spark.core.plan import Lane, Plan

_Row = tuple[int | float, ...]


def audit(plan: Plan, events: Events, bars: Bars) -> list[str]:
    """Return the violations in the ledger of a run over `bars`, none where it is sound.

    Numbers and ids: `seq` counts each lane's events densely, an order's id is its own number, and
    an order ends at most once, with at most its quantity. Time: events never go back, and what was
    decided at a bar fills at a later one, at a price inside the bar. Money: each fill's amount is
    its quantity at its price less the commission; cash is the sum of all amounts, and only an order
    that reduces a position may leave it below zero; a position is the sum of its fills; equity is
    the cash and the positions at their last close.
    """
    place = {name: i for i, name in enumerate(plan.symbols)}
    code = [place.get(name, -1) for name in bars.symbols]
    columns = (bars.ts, bars.code, *(getattr(bars, name) for name in FIELDS))
    prices = {
        (ts, code[symbol]): tuple(row)
        for ts, symbol, *row in zip(*(column.tolist() for column in columns), strict=True)
    }
    names = REGISTRY.names
    found = []
    for number, lane in enumerate(plan.lanes):
        books = _Books(lane, plan.symbols, prices)
        mine = events.take(events.lane == number)
        for row in zip(*(getattr(mine, name).tolist() for name in names), strict=True):
            books.read(dict(zip(names, row, strict=True)))
        found += books.violations
    return found


@dataclass(slots=True)
class _Books:
    """One lane's books, kept again from its events."""

    lane: Lane
    symbols: tuple[str, ...]
    prices: Mapping[tuple[int, int], _Row]
    violations: list[str] = field(default_factory=list)
    at: str = ""
    seq: int = 0
    ts: int = NULL
    cash: int = 0
    held: dict[int, Fraction] = field(default_factory=dict)
    closes: dict[int, Fraction] = field(default_factory=dict)
    orders: dict[int, tuple[int, int, Fraction]] = field(default_factory=dict)

    def read(self, event: dict[str, int | float]) -> None:
        """Check one event and book it."""
        kind = Kind(int(event["kind"]))
        self.at = f"lane {self.lane.name} event {self.seq} ({kind.name.lower()})"
        self.expect("seq", event["seq"], self.seq)
        self.true(event["ts"] >= self.ts, f"its time {event['ts']} is before {self.ts}")
        self.seq, self.ts = self.seq + 1, int(event["ts"])
        checks: dict[Kind, Callable[[dict[str, int | float]], None]] = {
            Kind.CASH: self.posting,
            Kind.ORDER: self.order,
            Kind.FILL: self.fill,
            Kind.REJECT: self.reject,
            Kind.EQUITY: self.equity,
        }
        if kind in checks:
            checks[kind](event)

    def posting(self, event: dict[str, int | float]) -> None:
        self.cash += int(event["amount"])
        self.expect("cash", event["cash"], self.cash)

    def order(self, event: dict[str, int | float]) -> None:
        self.expect("order_id", event["order_id"], event["seq"])
        opening = event["price"] != event["price"]
        decided = NULL if opening else int(event["ts"])
        signed = int(event["side"]) * _exact(event["quantity"])
        self.orders[int(event["order_id"])] = (decided, int(event["symbol"]), signed)

    def end_order(self, event: dict[str, int | float], quantity: Fraction) -> None:
        order = self.orders.pop(int(event["order_id"]), None)
        if order is None:
            self.true(False, f"order {event['order_id']} is not open")
            return
        decided, symbol, ordered = order
        self.expect("symbol", event["symbol"], symbol)
        self.true(event["ts"] > decided, "it is not later than its order")
        fits = quantity * ordered > 0 and abs(quantity) <= abs(ordered)
        self.true(fits, f"{quantity} are not part of the {ordered} ordered")

    def reject(self, event: dict[str, int | float]) -> None:
        if event["order_id"] != event["seq"]:
            self.end_order(event, int(event["side"]) * _exact(event["quantity"]))
        self.true(REASONS[int(event["reason"])] is not None, "it has no reason")

    def fill(self, event: dict[str, int | float]) -> None:
        symbol, price = int(event["symbol"]), _exact(event["price"])
        quantity = int(event["side"]) * _exact(event["quantity"])
        self.end_order(event, quantity)
        bar = self.prices.get((int(event["ts"]), symbol))
        if bar is None:
            self.true(False, f"{self.symbols[symbol]} has no bar at {event['ts']}")
        else:
            slippage = self.lane.broker.slippage
            assert isinstance(slippage, Slippage)
            inside = slippage.outside_bar or bar[2] <= event["price"] <= bar[1]
            self.true(inside, f"{event['price']} is outside the bar's {bar[2]} to {bar[1]}")
        gross = self.cents(symbol, quantity, price)
        self.expect("amount", event["amount"], -gross - int(event["commission"]))
        self.posting(event)
        before = self.held.get(symbol, Fraction(0))
        self.held[symbol] = before + quantity
        self.expect("position", _exact(event["position"]), self.held[symbol])
        reduces = before * quantity < 0 and abs(quantity) <= abs(before)
        self.true(self.cash >= 0 or reduces, f"it leaves the cash at {self.cash}")

    def equity(self, event: dict[str, int | float]) -> None:
        for symbol in range(len(self.symbols)):
            if (bar := self.prices.get((int(event["ts"]), symbol))) is not None:
                self.closes[symbol] = _exact(bar[3])
        values = [self.cents(s, q, self.closes[s]) for s, q in self.held.items() if q]
        self.expect("cash", event["cash"], self.cash)
        self.expect("equity", event["equity"], self.cash + sum(values))
        self.expect("exposure", event["exposure"], sum(map(abs, values)))

    def cents(self, symbol: int, quantity: Fraction, price: Fraction) -> int:
        broker = self.lane.broker
        unit = _exact(broker.instrument(self.symbols[symbol]).multiplier)
        value: Fraction = quantity * price * unit * 10**broker.minor_digits
        return round(value)

    def expect(self, name: str, found: object, expected: object) -> None:
        self.true(found == expected, f"{name} is {found}, expected {expected}")

    def true(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.violations.append(f"{self.at}: {otherwise}")


def _exact(number: float) -> Fraction:
    return Fraction(repr(float(number)))
