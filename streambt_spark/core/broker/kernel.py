"""The broker's rules as compiled folds over arrays; `broker` describes them and calls them.

Numba holds the arrays of a named tuple by reference and counts them at every call, so the hot loop
passes scalars where it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from streambt_spark.core.broker.allocation import Sizing
from streambt_spark.core.broker.commission import charge
from streambt_spark.core.broker.money import round_minor, whole_lots
from streambt_spark.core.broker.slippage import slip
from streambt_spark.core.ledger.fields import REASONS, REGISTRY, Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CASH, _ORDER, _FILL, _REJECT, _EQUITY, DISABLED = (
    int(k) for k in (Kind.CASH, Kind.ORDER, Kind.FILL, Kind.REJECT, Kind.EQUITY, Kind.DISABLED)
)
_INITIAL, _NO_CASH, _NO_SHORT, _NO_COLLATERAL, RAISED = (
    REASONS.index(text)
    for text in (
        "initial",
        "insufficient_cash",
        "short_not_allowed",
        "insufficient_collateral",
        "allocation_raised",
    )
)
_BLANK = REGISTRY.blank
_NAN = float("nan")
_FIXED, _ENTRY_PERCENT, _ALL_IN = (
    int(s) for s in (Sizing.FIXED, Sizing.ENTRY_PERCENT, Sizing.ALL_IN)
)
# The account's int64 registers.
MONEY, SEQ, WORKING, STARTED, OFF = range(5)


class Terms(NamedTuple):
    """A lane's settings as the kernel reads them; S symbols."""

    start_cash: int
    minor: float
    allow_short: bool
    fees: NDArray[np.float64]  # [2, K, 7]
    slip_kind: int
    slip_amount: float
    slip_outside: bool
    tick: NDArray[np.int64]  # [S, 2] numerator, denominator
    lot: NDArray[np.int64]  # [S, 2]
    unit: NDArray[np.float64]  # [S] quantity of one lot times multiplier
    multiplier: NDArray[np.float64]  # [S]
    sizing: int
    size: float
    opening: NDArray[np.int64]  # [S] lots ordered before the first slice


class Account(NamedTuple):
    """A lane's state: registers, positions and working orders. Kernels write into it."""

    registers: NDArray[np.int64]  # cash, next seq, working orders, started, disabled
    position: NDArray[np.int64]  # [S] lots
    working: NDArray[np.int64]  # [S] lots of all working orders, signed
    mark: NDArray[np.float64]  # [S] last price, 0 before the first: a fill, then the close
    order_id: NDArray[np.int64]  # [N] the first `working orders` rows are in use
    order_symbol: NDArray[np.int32]  # [N]
    order_lots: NDArray[np.int64]  # [N] signed


class Market(NamedTuple):
    """The slices of one step: float64[T, S] panels, int64[T] times."""

    ts: NDArray[np.int64]
    present: NDArray[np.bool_]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]


@njit(cache=True)
def fold(
    market: Market,
    strength: NDArray[np.float64],
    start: int,
    settings: Terms,
    account: Account,
    tape: Any,
) -> tuple[int, int]:
    """Fold slices from `start` while the tape and the order book have room.

    Returns the next slice and the number of events.
    """
    total, symbols = strength.shape
    n = 0
    t = start
    while t < total:
        working = account.registers[WORKING]
        if n + working + symbols + 3 > len(tape) or working + symbols > len(account.order_id):
            break
        n = open_slice(market, t, settings, account, tape, n)
        equity = tape.equity[n - 1] / settings.minor
        spendable = account.registers[MONEY]
        for s in range(symbols):
            wish = strength[t, s]
            if not market.present[t, s] or not (wish > 0.0 or wish < 0.0):
                continue
            held = account.position[s] + account.working[s]
            if _keeps(wish > 0.0, held, settings.sizing, settings.allow_short):
                continue
            close = market.close[t, s]
            target = _target(wish, s, close, equity, spendable / settings.minor, settings)
            if settings.sizing == _ALL_IN and target > held:
                value = (target - held) * _lot_value(s, close, settings)
                spendable -= round_minor(value * settings.minor)
            n = place(market, t, s, target, settings, account, tape, n)
        t += 1
    return t, n


@njit(cache=True)
def _keeps(long: bool, held: int, sizing: int, allow_short: bool) -> bool:
    """Return whether a wish changes nothing.

    Most do: asking again for what is held. Passing scalars only, this is a tenth of the cost of
    finding out by `_target`.
    """
    if not long and not allow_short:
        return held == 0
    entered = held > 0 if long else held < 0
    return entered and sizing in (_ENTRY_PERCENT, _ALL_IN)


@njit(cache=True)
def _lot_value(s: int, price: float, settings: Terms) -> float:
    return float(settings.unit[s] * price)


@njit(cache=True)
def _target(
    wish: float,
    s: int,
    close: float,
    equity: float,
    spendable: float,
    settings: Terms,
) -> int:
    """Return the target in lots that a built-in allocation asks for."""
    sign = 1 if wish > 0.0 else -1
    if sign < 0 and not settings.allow_short:
        return 0
    if settings.sizing == _FIXED:
        lots = settings.size * settings.lot[s, 1] / settings.lot[s, 0]
    else:
        budget = spendable if settings.sizing == _ALL_IN else equity * settings.size
        value = _lot_value(s, close, settings)
        lots = budget / value if value > 0.0 else 0.0
    return sign * whole_lots(max(lots, 0.0))


@njit(cache=True)
def place(
    market: Market,
    t: int,
    s: int,
    target: int,
    settings: Terms,
    account: Account,
    tape: Any,
    n: int,
) -> int:
    """Order what is missing to the target; return the number of events."""
    lots = target - account.position[s] - account.working[s]
    if lots == 0:
        return n
    i = account.registers[WORKING]
    number = account.registers[SEQ]
    side = 1 if lots > 0 else -1
    refused = target < 0 and lots < 0 and not settings.allow_short
    kind = _REJECT if refused else _ORDER
    n = log(tape, n, market.ts[t], account, kind, s, side, _NO_SHORT if refused else 0)
    tape.order_id[n - 1] = number
    tape.quantity[n - 1] = abs(lots) * settings.lot[s, 0] / settings.lot[s, 1]
    tape.price[n - 1] = market.close[t, s]
    if not refused:
        account.order_id[i] = number
        account.order_symbol[i] = s
        account.order_lots[i] = lots
        account.working[s] += lots
        account.registers[WORKING] = i + 1
    return n


@njit(cache=True)
def open_slice(market: Market, t: int, settings: Terms, account: Account, tape: Any, n: int) -> int:
    """Match working orders at slice t, mark the positions and record the equity."""
    registers = account.registers
    if registers[STARTED] == 0:
        registers[STARTED] = 1
        registers[MONEY] = settings.start_cash
        n = log(tape, n, market.ts[t], account, _CASH, -1, 0, _INITIAL)
        tape.amount[n - 1] = settings.start_cash
        tape.cash[n - 1] = settings.start_cash
        for s in range(len(settings.opening)):
            if settings.opening[s] != 0:
                n = place(market, t, s, settings.opening[s], settings, account, tape, n)
                tape.price[n - 1] = _NAN  # no close was seen when it was decided
    if registers[WORKING] > 0:
        for exits in (True, False):
            for i in range(registers[WORKING]):
                lots = account.order_lots[i]
                s = account.order_symbol[i]
                reduces = account.position[s] * lots < 0
                if lots != 0 and market.present[t, s] and (reduces or not exits):
                    n = _match(market, t, i, settings, account, tape, n)
        _compact(account)
    equity = registers[MONEY]
    exposure = 0
    for s in range(len(account.position)):
        if market.present[t, s]:
            account.mark[s] = market.close[t, s]
        if account.position[s] != 0:
            value = round_minor(
                account.position[s] * _lot_value(s, account.mark[s], settings) * settings.minor
            )
            equity += value
            exposure += abs(value)
    n = log(tape, n, market.ts[t], account, _EQUITY, -1, 0, 0)
    tape.cash[n - 1] = registers[MONEY]
    tape.equity[n - 1] = equity
    tape.exposure[n - 1] = exposure
    return n


@njit(cache=True)
def _match(
    market: Market,
    t: int,
    i: int,
    settings: Terms,
    account: Account,
    tape: Any,
    n: int,
) -> int:
    """Fill or reject working order i at slice t; its lots become 0 and _compact drops it."""
    s = account.order_symbol[i]
    lots = account.order_lots[i]
    sign = 1 if lots > 0 else -1
    price = slip(
        market.open[t, s],
        sign,
        market.low[t, s],
        market.high[t, s],
        settings.slip_kind,
        settings.slip_amount,
        settings.slip_outside,
        settings.tick[s, 0],
        settings.tick[s, 1],
    )
    account.working[s] -= lots
    account.order_lots[i] = 0
    wanted = lots
    if not _fits(s, lots, price, settings, account):
        lots = _fitting(s, lots, price, settings, account) if settings.sizing == _ALL_IN else 0
    if lots == 0:
        reason = _NO_CASH if sign > 0 else _NO_COLLATERAL
        n = log(tape, n, market.ts[t], account, _REJECT, s, sign, reason)
        tape.quantity[n - 1] = abs(wanted) * settings.lot[s, 0] / settings.lot[s, 1]
    else:
        amount, fee = _cost(s, lots, price, settings)
        account.registers[MONEY] += amount
        account.position[s] += lots
        account.mark[s] = price
        n = log(tape, n, market.ts[t], account, _FILL, s, sign, 0)
        tape.quantity[n - 1] = abs(lots) * settings.lot[s, 0] / settings.lot[s, 1]
        tape.commission[n - 1] = fee
        tape.amount[n - 1] = amount
        tape.cash[n - 1] = account.registers[MONEY]
        tape.position[n - 1] = account.position[s] * settings.lot[s, 0] / settings.lot[s, 1]
    tape.order_id[n - 1] = account.order_id[i]
    tape.price[n - 1] = price
    return n


@njit(cache=True)
def _cost(s: int, lots: int, price: float, settings: Terms) -> tuple[int, int]:
    """Return the cash posting (negative for a purchase) and the commission, in minor units."""
    quantity = abs(lots) * settings.lot[s, 0] / settings.lot[s, 1]
    value = quantity * price * settings.multiplier[s]
    side = 0 if lots > 0 else 1
    fee = charge(settings.fees, side, abs(value), quantity)
    cents = round_minor(fee * settings.minor)
    gross = round_minor(value * settings.minor)
    return (-gross if lots > 0 else gross) - cents, cents


@njit(cache=True)
def _fits(s: int, lots: int, price: float, settings: Terms, account: Account) -> bool:
    """Return whether free cash pays for an order.

    What only reduces a position always fits: risk must not be locked in by a lack of cash.
    """
    after = account.position[s] + lots
    if account.position[s] * lots < 0 and after * lots <= 0:
        return True
    amount, _ = _cost(s, lots, price, settings)
    shorts = 0
    for k in range(len(account.position)):
        held = after if k == s else account.position[k]
        if held < 0:
            quoted = price if k == s else account.mark[k]
            shorts += round_minor(-held * _lot_value(k, quoted, settings) * settings.minor)
    return bool(account.registers[MONEY] + amount >= 2 * shorts)


@njit(cache=True)
def _fitting(s: int, lots: int, price: float, settings: Terms, account: Account) -> int:
    """Return the most lots of an order, which does not fit as a whole, that do; 0 for none."""
    sign = 1 if lots > 0 else -1
    fits, exceeds = 0, abs(lots)
    while exceeds - fits > 1:
        middle = (fits + exceeds) // 2
        if _fits(s, sign * middle, price, settings, account):
            fits = middle
        else:
            exceeds = middle
    return sign * fits


@njit(cache=True)
def _compact(account: Account) -> None:
    """Drop the orders whose lots are 0, keeping the order of the others."""
    kept = 0
    for i in range(account.registers[WORKING]):
        if account.order_lots[i] != 0:
            account.order_id[kept] = account.order_id[i]
            account.order_symbol[kept] = account.order_symbol[i]
            account.order_lots[kept] = account.order_lots[i]
            kept += 1
    account.registers[WORKING] = kept


@njit(cache=True)
def log(
    tape: Any,
    n: int,
    ts: int,
    account: Account,
    kind: int,
    symbol: int,
    side: int,
    reason: int,
) -> int:
    """Write an event with null fields; return the new number of events."""
    tape[n] = _BLANK[0]
    event = tape[n]
    event.lane = 0
    event.ts = ts
    event.seq = account.registers[SEQ]
    account.registers[SEQ] += 1
    event.kind = kind
    event.symbol = symbol
    event.side = side
    event.reason = reason
    return n + 1
