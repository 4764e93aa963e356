"""The broker: a pure fold over slices that matches orders, keeps the cash and sizes new orders.

One call of `step` takes an account and the next slices of its universe and returns the account
after them with the events that happened. For every slice, in this order:

1. Working orders are matched. A market order decided at slice t fills at the open of the next bar
   of its symbol, worsened by slippage. Orders that reduce a position go first, so that their cash
   is there for the others; then by order id.
2. Positions are marked at the close and the equity is recorded.
3. The allocation sees this portfolio and asks for targets; the order is what is missing to the
   target after the position and the orders still working.

Orders that a Broker's `opening` places before the first slice are working when it comes, so they
fill at the first open of their symbol.

Cash is an int64 count of minor units, every posting rounded half to even. Quantities are int64
counts of lots. A purchase must be paid by free cash at the fill's price: cash less twice the value
of the short positions (their proceeds are locked and matched by as much collateral, a stand-in
until margin accounts exist). The symbol that trades counts at the fill's price, the others at their
last fill or close. What only reduces a position needs no free cash. What does not fit is rejected
whole, with its reason, and never shrunk, except for AllIn, whose very meaning is to take what there
is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark.core.broker import commission as commissions
from streambt_spark.core.broker import slippage as slippages
from streambt_spark.core.broker.allocation import (
    BUILT_IN,
    Allocation,
    AllocationFunction,
    Bar,
    FixedSize,
    Portfolio,
    Sizing,
)
from streambt_spark.core.broker.commission import Commission
from streambt_spark.core.broker.kernel import (
    DISABLED,
    MONEY,
    OFF,
    RAISED,
    WORKING,
    Account,
    Market,
    Terms,
    fold,
    log,
    open_slice,
    place,
)
from streambt_spark.core.broker.money import grid, minor_units, whole_lots
from streambt_spark.core.broker.slippage import Slippage
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import EVENT
from streambt_spark.core.market.instruments import Instrument, default_instrument
from streambt_spark.core.market.slices import Panel
from streambt_spark.errors import BadParameter

if TYPE_CHECKING:
    from numpy.typing import NDArray


_EXACT = 2**53
"""Counts below it are exact as float64."""


@dataclass(frozen=True, slots=True)
class Broker:
    """The settings of a simulated account.

    `cash` is the start cash in currency units; `commission` and `slippage` take the texts that
    their modules parse; `allow_short` lets a pulse below zero open a short position;
    `minor_digits` is the currency's number of decimals; `instruments` overrides the default
    instrument of a symbol; `opening` holds, by symbol, the quantities ordered before the first
    slice (below zero to sell).
    """

    cash: float = 1_000_000.0
    commission: object = 0.0
    slippage: object = None
    allow_short: bool = False
    minor_digits: int = 2
    instruments: Mapping[str, Instrument] = field(default_factory=dict)
    opening: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < minor_units(self.cash, self.minor_digits) < _EXACT:
            raise BadParameter(
                f"cash must be positive and below {_EXACT} minor units, found {self.cash!r}"
            )
        object.__setattr__(self, "cash", float(self.cash))
        object.__setattr__(self, "commission", commissions.parse(self.commission))
        object.__setattr__(self, "slippage", slippages.parse(self.slippage))
        object.__setattr__(self, "instruments", dict(self.instruments))
        object.__setattr__(self, "opening", dict(self.opening))

    def instrument(self, symbol: str) -> Instrument:
        """Return how a symbol trades in this account."""
        return self.instruments.get(symbol) or default_instrument(symbol)

    @property
    def identity(self) -> str:
        """The text of the settings: the same however they were written."""
        assert isinstance(self.commission, Commission)
        traded = {
            symbol: (grid(i.tick), grid(i.lot), float(i.multiplier))
            for symbol, i in self.instruments.items()
        }
        return repr(
            (
                minor_units(self.cash, self.minor_digits),
                self.minor_digits,
                self.commission.table().tolist(),
                self.slippage,
                self.allow_short,
                sorted(traded.items()),
                sorted((symbol, float(quantity)) for symbol, quantity in self.opening.items()),
            )
        )


def terms(broker: Broker, allocation: Allocation, symbols: Sequence[str]) -> Terms:
    """Return the kernel's settings for a lane that trades `symbols` in this order."""
    fees, slippage = broker.commission, broker.slippage
    assert isinstance(fees, Commission)
    assert isinstance(slippage, Slippage)
    traded = [broker.instrument(s) for s in symbols]
    sizing, size = (
        allocation.sizing(len(symbols))
        if isinstance(allocation, BUILT_IN)
        else (Sizing.FUNCTION, 0.0)
    )
    lots = [grid(i.lot) for i in traded]
    if sizing is Sizing.FIXED and any(size * den / num >= _EXACT for num, den in lots):
        raise BadParameter(f"a size of {size!r} is more than {_EXACT} lots")
    return Terms(
        start_cash=minor_units(broker.cash, broker.minor_digits),
        minor=float(10**broker.minor_digits),
        allow_short=broker.allow_short,
        fees=fees.table(),
        slip_kind=int(slippage.kind),
        slip_amount=slippage.amount,
        slip_outside=slippage.outside_bar,
        tick=np.array([grid(i.tick) for i in traded], dtype=np.int64),
        lot=np.array(lots, dtype=np.int64),
        unit=np.array(
            [lot / den * i.multiplier for i, (lot, den) in zip(traded, lots, strict=True)]
        ),
        multiplier=np.array([i.multiplier for i in traded], dtype=np.float64),
        sizing=int(sizing),
        size=float(size),
        opening=_opening_lots(broker.opening, symbols, lots),
    )


def _opening_lots(
    opening: Mapping[str, float], symbols: Sequence[str], lots: Sequence[tuple[int, int]]
) -> NDArray[np.int64]:
    unknown = sorted(set(opening) - set(symbols))
    if unknown:
        raise BadParameter(f"opening orders of symbols outside the universe: {', '.join(unknown)}")
    placed = np.zeros(len(symbols), np.int64)
    for s, (symbol, (num, den)) in enumerate(zip(symbols, lots, strict=True)):
        exact = Fraction(str(opening.get(symbol, 0))) * den / num
        if exact.denominator != 1 or abs(exact) >= _EXACT:
            raise BadParameter(
                f"an opening order of {opening[symbol]!r} {symbol} is not in lots of {num / den}"
            )
        placed[s] = int(exact)
    return placed


def open_account(symbols: int) -> Account:
    """Return an account before its first slice."""
    return Account(
        registers=np.zeros(5, np.int64),
        position=np.zeros(symbols, np.int64),
        working=np.zeros(symbols, np.int64),
        mark=np.zeros(symbols),
        order_id=np.zeros(2 * symbols, np.int64),
        order_symbol=np.zeros(2 * symbols, np.int32),
        order_lots=np.zeros(2 * symbols, np.int64),
    )


def step(
    settings: Terms,
    account: Account,
    panel: Panel,
    strength: NDArray[np.float64],
    *,
    lane: int = 0,
    function: AllocationFunction | None = None,
) -> tuple[Account, Events]:
    """Fold the slices of `panel` into the account; `strength` is the pulse, float64[T, S].

    Returns the account after the last slice and the events of this lane; the argument is left
    as it was. `function` is the user's allocation where the sizing is FUNCTION.
    """
    market = Market(panel.ts, panel.present, panel.open, panel.high, panel.low, panel.close)
    account = Account._make(column.copy() for column in account)
    total, symbols = strength.shape
    parts: list[Events] = []
    t = 0
    while t < total:
        account = _with_room(account, symbols)
        room = min(total - t, 4096) * 2 + 4 * symbols + len(account.order_id) + 8
        tape = np.empty(room, EVENT)
        if function is None:
            t, used = fold(market, strength, t, settings, account, tape)
        else:
            used = _run_function(market, panel, strength, t, settings, account, tape, function)
            t += 1
        parts.append(Events(tape[:used].copy()).with_column("lane", lane))
    return account, Events.concat(parts)


def _with_room(account: Account, symbols: int) -> Account:
    """Make room for one more order a symbol."""
    missing = account.registers[WORKING] + symbols - len(account.order_id)
    if missing <= 0:
        return account
    grown = {
        name: np.concatenate([column, np.zeros(missing + symbols, column.dtype)])
        for name in ("order_id", "order_symbol", "order_lots")
        if (column := getattr(account, name)) is not None
    }
    return account._replace(**grown)


def _run_function(
    market: Market,
    panel: Panel,
    strength: NDArray[np.float64],
    t: int,
    settings: Terms,
    account: Account,
    tape: Any,
    function: AllocationFunction,
) -> int:
    """Fold one slice with a user's allocation function; return the number of events.

    A function that raises is switched off for the rest of the run and the event says so: other
    lanes must not stop for it, and the ledger must show why this one no longer trades.
    """
    n = open_slice(market, t, settings, account, tape, 0)
    asking = np.flatnonzero(market.present[t] & (np.abs(strength[t]) > 0))
    if len(asking) == 0 or account.registers[OFF]:
        return n
    names = panel.symbols
    try:
        targets = function(
            {names[s]: float(strength[t, s]) for s in asking.tolist()},
            _portfolio(int(market.ts[t]), names, settings, account, int(tape["equity"][n - 1])),
            {
                names[s]: Bar(*(float(getattr(panel, f)[t, s]) for f in Bar.__slots__))
                for s in np.flatnonzero(market.present[t]).tolist()
            },
        )
        lots = _target_lots(targets, names, settings, market.present[t])
    except Exception:  # whatever the user's code raises; see the docstring
        account.registers[OFF] = 1
        return int(log(tape, n, market.ts[t], account, DISABLED, -1, 0, RAISED))
    for s, target in lots:
        n = place(market, t, s, target, settings, account, tape, n)
    return int(n)


def _portfolio(
    ts: int, names: Sequence[str], settings: Terms, account: Account, equity: int
) -> Portfolio:
    unit = settings.lot[:, 0] / settings.lot[:, 1]

    def held(lots: NDArray[np.int64]) -> dict[str, float]:
        return {names[s]: float(lots[s] * unit[s]) for s in np.flatnonzero(lots).tolist()}

    return Portfolio(
        ts=ts,
        cash=float(account.registers[MONEY] / settings.minor),
        equity=equity / settings.minor,
        quantity=held(account.position),
        working=held(account.working),
    )


def _target_lots(
    targets: Mapping[str, float],
    names: Sequence[str],
    settings: Terms,
    present: NDArray[np.bool_],
) -> list[tuple[int, int]]:
    """Return (symbol, target in lots, towards zero) in the universe's order.

    A symbol without a bar in the slice is passed over: there is no close to decide on.
    """
    unknown = set(targets) - set(names)
    if unknown:
        raise BadParameter(f"the allocation names symbols outside the universe: {sorted(unknown)}")
    lots = []
    for s, name in enumerate(names):
        if name in targets and present[s]:
            exact = float(targets[name]) * settings.lot[s, 1] / settings.lot[s, 0]
            if not abs(exact) < _EXACT:
                raise BadParameter(f"the allocation's target of {name} is {targets[name]!r}")
            lots.append((s, whole_lots(exact)))
    return lots


def compile_kernels() -> None:
    """Compile the kernels, or load them from numba's cache, by folding one slice."""
    one = np.ones((1, 1))
    panel = Panel(("A",), np.zeros(1, np.int64), np.ones((1, 1), bool), one, one, one, one, one)
    step(terms(Broker(), FixedSize(1), ("A",)), open_account(1), panel, one)
