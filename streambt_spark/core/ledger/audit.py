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
    from collections.abc import Callable, Mapping, Sequence

    from streambt_spark.core.ledger.events import Events
    from streambt_spark.core.market.bars import Bars
    from streambt_spark.core.plan import Lane, Plan

_Row = tuple[int | float, ...]
_VALUE_BOUND, _SUM_BOUND = 2**48, 2**62
"""A value in minor units, and the sum of those of all symbols, stay below them."""


def audit(plan: Plan, events: Events, bars: Bars) -> list[str]:
    """Return the violations in the ledger of a run over `bars`, none where it is sound.

    Numbers and ids: `seq` counts each lane's events densely, an order's id is its own number, and
    an order ends at most once, with at most its quantity. Time: events never go back, and what was
    decided at a bar fills at a later one, at a price inside the bar and not better than its open.
    Money: each fill's amount is its quantity at its price less the commission; cash is the sum of
    all amounts, and only an order that reduces a position may leave it below zero; a position is
    the sum of its fills; equity is the cash and the positions at their last close, but for a close
    at which a position could not be counted. A lane without order events is not asked for them.
    """
    place = {name: i for i, name in enumerate(plan.symbols)}
    code = [place.get(name, -1) for name in bars.symbols]
    columns = (bars.ts, bars.code, *(getattr(bars, name) for name in FIELDS))
    prices: dict[int, dict[int, _Row]] = {}
    for ts, symbol, *bar in sorted(zip(*(column.tolist() for column in columns), strict=True)):
        prices.setdefault(ts, {})[code[symbol]] = tuple(bar)
    names = REGISTRY.names
    violations = []
    for number, lane in enumerate(plan.lanes):
        books = _Books(lane, plan.symbols, prices, tuple(prices))
        mine = events.take(events.lane == number)
        words = plan.currencies.index(lane.broker.currency)
        for row in zip(*(getattr(mine, name).tolist() for name in names), strict=True):
            books.read(dict(zip(names, row, strict=True)), words)
        violations += books.violations
    return violations


@dataclass(slots=True)
class _Books:
    """One lane's books, kept again from its events."""

    lane: Lane
    symbols: tuple[str, ...]
    prices: Mapping[int, Mapping[int, _Row]]
    times: Sequence[int]
    violations: list[str] = field(default_factory=list)
    at: str = ""
    seq: int = 0
    ts: int = NULL
    marked: int = 0
    cash: int = 0
    held: dict[int, Fraction] = field(default_factory=dict)
    closes: dict[int, Fraction] = field(default_factory=dict)
    orders: dict[int, tuple[int, int, Fraction]] = field(default_factory=dict)

    def read(self, event: dict[str, int | float], currency: int) -> None:
        """Check one event and book it; `currency` is the code of the account's."""
        kind = Kind(int(event["kind"]))
        self.at = f"lane {self.lane.name} event {self.seq} ({kind.name.lower()})"
        self.expect("seq", event["seq"], self.seq)
        self.true(event["ts"] >= self.ts, f"its time {event['ts']} is before {self.ts}")
        self.seq, self.ts = self.seq + 1, int(event["ts"])
        if "currency" in REGISTRY.kind(kind.name.lower()).fields:
            self.expect("currency", event["currency"], currency)
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

    def part_of_order(self, event: dict[str, int | float], quantity: Fraction) -> None:
        """Check a fill or a reject of an order, or of what is left of it."""
        if self.lane.record != "full":
            return
        order = self.orders.get(int(event["order_id"]))
        if order is None:
            self.true(False, f"order {event['order_id']} is not open")
            return
        decided, symbol, left = order
        self.expect("symbol", event["symbol"], symbol)
        self.true(event["ts"] > decided, "it is not later than its order")
        fits = quantity * left > 0 and abs(quantity) <= abs(left)
        self.true(fits, f"{quantity} are not part of the {left} that are left")
        self.orders[int(event["order_id"])] = (decided, symbol, left - quantity)
        if left == quantity:
            self.end_order(event)

    def end_order(self, event: dict[str, int | float]) -> None:
        self.orders.pop(int(event["order_id"]), None)

    def reject(self, event: dict[str, int | float]) -> None:
        if int(event["order_id"]) in self.orders:
            self.part_of_order(event, int(event["side"]) * _exact(event["quantity"]))
            self.end_order(event)
        elif self.lane.record == "full":
            self.true(event["order_id"] == event["seq"], f"order {event['order_id']} is not open")
        self.true(REASONS[int(event["reason"])] is not None, "it has no reason")

    def fill(self, event: dict[str, int | float]) -> None:
        self.mark(int(event["ts"]) - 1)
        symbol, price = int(event["symbol"]), _exact(event["price"])
        quantity = int(event["side"]) * _exact(event["quantity"])
        self.part_of_order(event, quantity)
        self.inside(event, symbol)
        gross = self.cents(symbol, quantity, price)
        self.expect("amount", event["amount"], -gross - int(event["commission"]))
        self.posting(event)
        before = self.held.get(symbol, Fraction(0))
        self.held[symbol] = before + quantity
        self.closes[symbol] = price
        self.expect("position", _exact(event["position"]), self.held[symbol])
        reduces = before * quantity < 0 and abs(quantity) <= abs(before)
        self.true(self.cash >= 0 or reduces, f"it leaves the cash at {self.cash}")

    def inside(self, event: dict[str, int | float], symbol: int) -> None:
        bar = self.prices.get(int(event["ts"]), {}).get(symbol)
        if bar is None:
            self.true(False, f"{self.symbols[symbol]} has no bar at {event['ts']}")
            return
        slippage = self.lane.broker.slippage
        assert isinstance(slippage, Slippage)
        opened, high, low, _, _ = bar
        within = slippage.outside_bar or low <= event["price"] <= high
        self.true(within, f"{event['price']} is outside the bar's {low} to {high}")
        worse = event["side"] * (event["price"] - opened) >= 0
        self.true(worse, f"{event['price']} is better than the open of {opened}")

    def equity(self, event: dict[str, int | float]) -> None:
        self.mark(int(event["ts"]))
        values = [self.cents(s, q, self.closes[s]) for s, q in self.held.items() if q]
        self.expect("cash", event["cash"], self.cash)
        self.expect("equity", event["equity"], self.cash + sum(values))
        self.expect("exposure", event["exposure"], sum(map(abs, values)))

    def mark(self, until: int) -> None:
        """Value what is held at the closes up to a time, but where that cannot be counted."""
        bound = min(_VALUE_BOUND, _SUM_BOUND // len(self.symbols))
        while self.marked < len(self.times) and self.times[self.marked] <= until:
            for symbol, (_, _, _, close, _) in self.prices[self.times[self.marked]].items():
                held = self.held.get(symbol)
                if held and abs(self.cents(symbol, held, _exact(close))) < bound:
                    self.closes[symbol] = _exact(close)
            self.marked += 1

    def cents(self, symbol: int, quantity: Fraction, price: Fraction) -> int:
        broker = self.lane.broker
        unit = _exact(broker.instrument(self.symbols[symbol]).multiplier)
        value: Fraction = quantity * price * unit * 10**broker.minor_digits
        return round(value)

    def expect(self, name: str, value: object, expected: object) -> None:
        self.true(value == expected, f"{name} is {value}, expected {expected}")

    def true(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.violations.append(f"{self.at}: {otherwise}")


def _exact(number: float) -> Fraction:
    return Fraction(repr(float(number)))
