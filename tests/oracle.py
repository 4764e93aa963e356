"""A naive broker in exact fractions, written from the rules and not from the kernel.

Everything is a dict, a loop and a Fraction: slow, and plain enough to be read against the rules of
`streambt_spark.core.broker`. Rounding is Python's own: `round` of a Fraction is half to even.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

Price = Fraction


@dataclass(frozen=True, slots=True)
class Quote:
    """One symbol's bar, as exact prices."""

    open: Price
    high: Price
    low: Price
    close: Price


@dataclass(frozen=True, slots=True)
class Fee:
    """A commission for values below `below` (None: any)."""

    below: Fraction | None
    flat: Fraction = Fraction(0)
    percent: Fraction = Fraction(0)
    per_share: Fraction = Fraction(0)
    minimum: Fraction = Fraction(0)
    maximum: Fraction | None = None
    max_percent: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """An account's settings; money in currency units.

    `allocation` is ('fixed', quantity), ('entry', share), ('target', share), ('all',) or
    ('function', f) with f a function of the strengths alone. `slippage` is (kind, amount), `tick`
    a symbol's step of prices and that of prices below one.
    """

    symbols: Sequence[str]
    cash: Fraction
    allocation: tuple[Any, ...]
    allow_short: bool = False
    slippage: tuple[str, Fraction] = ("none", Fraction(0))
    fees: Mapping[str, Sequence[Fee]] = field(default_factory=dict)
    tick: Mapping[str, tuple[Fraction, Fraction]] = field(default_factory=dict)
    lot: Mapping[str, Fraction] = field(default_factory=dict)
    multiplier: Mapping[str, Fraction] = field(default_factory=dict)
    opening: Mapping[str, Fraction] = field(default_factory=dict)


@dataclass
class Order:
    """A working order; `quantity` is signed."""

    number: int
    symbol: str
    quantity: Fraction


class NaiveBroker:
    """Folds slices into a list of events, each a dict of the ledger's columns that are not null."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.events: list[dict[str, Any]] = []
        self.cents = 0
        self.started = False
        self.held: dict[str, Fraction] = dict.fromkeys(rules.symbols, Fraction(0))
        self.last: dict[str, Fraction] = {}
        self.orders: list[Order] = []
        self.disabled = False

    def slice(self, ts: int, quotes: Mapping[str, Quote], strength: Mapping[str, float]) -> None:
        """Process all bars of one time and the pulses at their close."""
        if not self.started:
            self.started = True
            self.cents = round(self.rules.cash * 100)
            self._tell(ts, "cash", **self._money(amount=self.cents), reason="initial")
            for symbol in self.rules.symbols:
                self._order(ts, symbol, self.rules.opening.get(symbol, Fraction(0)), None)
        self._match(ts, quotes)
        for symbol, quote in quotes.items():
            self.last[symbol] = quote.close
        values = {s: self._cents_of(s, q, self.last[s]) for s, q in self.held.items() if q}
        equity = self.cents + sum(values.values())
        exposure = sum(abs(value) for value in values.values())
        self._tell(ts, "equity", **self._money(equity=equity, exposure=exposure))
        asking = {s: strength[s] for s in self.rules.symbols if s in quotes and strength[s] != 0}
        asking = {s: wish for s, wish in asking.items() if not math.isnan(wish)}
        if self.rules.allocation[0] == "function":
            self._ask_function(ts, asking, quotes)
        else:
            shorts = sum(-value for value in values.values() if value < 0)
            self._allocate(ts, asking, quotes, Fraction(equity, 100), self.cents - 2 * shorts)

    # The matching of working orders.

    def _match(self, ts: int, quotes: Mapping[str, Quote]) -> None:
        for only_exits in (True, False):
            for order in list(self.orders):
                reduces = self.held[order.symbol] * order.quantity < 0
                if order.symbol in quotes and (reduces or not only_exits):
                    self._execute(ts, order, quotes[order.symbol], only_exits)

    def _execute(self, ts: int, order: Order, quote: Quote, only_exits: bool) -> None:
        symbol, held = order.symbol, self.held[order.symbol]
        price = self._slipped(symbol, order.quantity, quote)
        turns_over = held * order.quantity < 0 and abs(order.quantity) > abs(held)
        if turns_over and not self._affordable(symbol, order.quantity, price):
            self._fill(ts, order, -held, price)
            order.quantity += held
            if only_exits:
                return  # what is left is an entry, and entries come later
        self.orders.remove(order)
        quantity = order.quantity
        if not self._affordable(symbol, quantity, price):
            quantity = Fraction(0)
            if self.rules.allocation[0] == "all":
                quantity = self._shrunk(symbol, order.quantity, price)
        if quantity:
            self._fill(ts, order, quantity, price)
            return
        reason = "insufficient_cash" if order.quantity > 0 else "insufficient_collateral"
        told = {"symbol": symbol, "side": side(order.quantity), "order_id": order.number}
        self._tell(ts, "reject", **told, quantity=abs(order.quantity), price=price, reason=reason)

    def _fill(self, ts: int, order: Order, quantity: Fraction, price: Fraction) -> None:
        symbol = order.symbol
        told = {"symbol": symbol, "side": side(quantity), "order_id": order.number}
        fee = self._fee(symbol, quantity, price)
        amount = -self._cents_of(symbol, quantity, price) - fee
        self.cents += amount
        self.held[symbol] += quantity
        self.last[symbol] = price
        self._tell(
            ts, "fill", **told, quantity=abs(quantity), price=price, commission=fee,
            **self._money(amount=amount), position=self.held[symbol],
        )  # fmt: skip

    def _slipped(self, symbol: str, quantity: Fraction, quote: Quote) -> Fraction:
        kind, amount = self.rules.slippage
        if kind == "none" or amount == 0:
            return quote.open
        tick = self.rules.tick[symbol][quote.open < 1]
        worse = amount * tick if kind == "ticks" else quote.open * amount / 100
        if quantity > 0:
            return min(math.ceil((quote.open + worse) / tick) * tick, quote.high)
        return max(math.floor((quote.open - worse) / tick) * tick, quote.low)

    def _affordable(self, symbol: str, quantity: Fraction, price: Fraction) -> bool:
        before = self.held[symbol]
        after = before + quantity
        if before * quantity < 0 and abs(quantity) <= abs(before):
            return True  # it only reduces
        money = self.cents - self._cents_of(symbol, quantity, price)
        money -= self._fee(symbol, quantity, price)
        positions = {**self.held, symbol: after}
        quoted = {**self.last, symbol: price}
        shorts = sum(self._cents_of(s, -q, quoted[s]) for s, q in positions.items() if q < 0)
        return money - 2 * shorts >= 0

    def _shrunk(self, symbol: str, quantity: Fraction, price: Fraction) -> Fraction:
        sign = 1 if quantity > 0 else -1
        lot = self.rules.lot[symbol]
        good, bad = 0, int(abs(quantity) / lot)
        while bad - good > 1:
            middle = (good + bad) // 2
            if self._affordable(symbol, sign * middle * lot, price):
                good = middle
            else:
                bad = middle
        return sign * good * lot

    def _fee(self, symbol: str, quantity: Fraction, price: Fraction) -> int:
        value = abs(quantity * price * self.rules.multiplier[symbol])
        tiers = self.rules.fees.get(side(quantity), ())
        for tier in tiers:
            if tier.below is None or value < tier.below:
                fee = tier.flat + tier.percent / 100 * value + tier.per_share * abs(quantity)
                fee = max(fee, tier.minimum)
                if tier.maximum is not None:
                    fee = min(fee, tier.maximum)
                if tier.max_percent is not None:
                    fee = min(fee, tier.max_percent / 100 * value)
                return round(fee * 100)
        return 0

    def _cents_of(self, symbol: str, quantity: Fraction, price: Fraction) -> int:
        return round(quantity * price * self.rules.multiplier[symbol] * 100)

    # The placing of new orders.

    def _allocate(
        self,
        ts: int,
        asking: Mapping[str, float],
        quotes: Mapping[str, Quote],
        equity: Fraction,
        free: int,
    ) -> None:
        kind, *size = self.rules.allocation
        for symbol, wish in asking.items():
            have = self.held[symbol] + self._working(symbol)
            price = quotes[symbol].close * self.rules.multiplier[symbol]
            if kind in ("entry", "all") and have * wish > 0:
                continue  # sized at entry, then held
            if wish < 0 and not self.rules.allow_short:
                target = Fraction(0)
            else:
                budget = Fraction(free, 100) if kind == "all" else equity * size[0]
                if kind == "all" and have * wish < 0:  # what it closes pays for the other side
                    closed = self._cents_of(symbol, abs(have), quotes[symbol].close)
                    free += closed
                    budget += Fraction(closed, 100)
                quantity = size[0] if kind == "fixed" else max(budget / price, Fraction(0))
                lot = self.rules.lot[symbol]
                target = (1 if wish > 0 else -1) * math.floor(quantity / lot) * lot
                if kind == "all":
                    free -= self._cents_of(symbol, abs(target), quotes[symbol].close)
            self._order(ts, symbol, target - have, quotes[symbol].close)

    def _ask_function(
        self, ts: int, asking: Mapping[str, float], quotes: Mapping[str, Quote]
    ) -> None:
        if not asking or self.disabled:
            return
        function: Callable[[Mapping[str, float]], Mapping[str, float]] = self.rules.allocation[1]
        try:
            targets = function(asking)
        except Exception as error:
            self.disabled = True
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name} line {frame.lineno}"
            text = f"{type(error).__name__}: {error} ({where})"
            self._tell(ts, "disabled", reason="allocation_raised", text=text)
            return
        for symbol in self.rules.symbols:
            if symbol in targets and symbol in quotes:
                lot = self.rules.lot[symbol]
                target = int(Fraction(str(targets[symbol])) / lot) * lot
                have = self.held[symbol] + self._working(symbol)
                price = quotes[symbol].close
                if target < 0 and target < have and not self.rules.allow_short:
                    self._refuse(ts, symbol, target - have, price)
                else:
                    self._order(ts, symbol, target - have, price)

    def _order(self, ts: int, symbol: str, quantity: Fraction, price: Fraction | None) -> None:
        if not quantity:
            return
        if price is None and quantity < 0 and not self.rules.allow_short:
            self._refuse(ts, symbol, quantity, price)
            return
        self.orders.append(Order(len(self.events), symbol, quantity))
        self._tell_order(ts, "order", symbol, quantity, price)

    def _refuse(self, ts: int, symbol: str, quantity: Fraction, price: Fraction | None) -> None:
        self._tell_order(ts, "reject", symbol, quantity, price, reason="short_not_allowed")

    def _working(self, symbol: str) -> Fraction:
        return sum((o.quantity for o in self.orders if o.symbol == symbol), Fraction(0))

    # The ledger.

    def _tell_order(
        self,
        ts: int,
        kind: str,
        symbol: str,
        quantity: Fraction,
        price: Fraction | None,
        **more: Any,
    ) -> None:
        if price is not None:
            more["price"] = price
        self._tell(
            ts, kind, symbol=symbol, side=side(quantity), order_id=len(self.events),
            quantity=abs(quantity), **more,
        )  # fmt: skip

    def _money(self, **amounts: int) -> dict[str, Any]:
        return {**amounts, "currency": "USD", "cash": self.cents}

    def _tell(self, ts: int, kind: str, **columns: Any) -> None:
        self.events.append({"ts": ts, "seq": len(self.events), "kind": kind, **columns})


def side(quantity: Fraction) -> str:
    """Return 'buy' or 'sell'."""
    return "buy" if quantity > 0 else "sell"


def as_ledger(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return events with their fractions as the nearest float, as a ledger stores them."""
    return [
        {k: float(v) if isinstance(v, Fraction) else v for k, v in event.items()}
        for event in events
    ]
