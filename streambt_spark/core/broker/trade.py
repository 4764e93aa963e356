"""The trade fold: all lanes of a block over the next slices.

It has a state of its own, the lanes' accounts, and knows nothing of how rows became slices or how
pulses were computed. Lanes do not disturb one another, so they may be folded side by side.

Cash is a count of minor units, every posting rounded half to even; quantities are counts of lots. A
purchase must be paid by free cash at the fill's price: cash less twice the value of the short
positions (their proceeds are locked and matched by as much collateral, a stand-in until margin
accounts exist). What does not fit is rejected whole, with its reason, and never shrunk, except for
AllIn, whose very meaning is to take what there is. An order that turns a position over is an exit
and an entry where it does not fit as a whole: the exit always fills, the entry fills or is rejected
by itself, after the exits of the other symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark.core.broker.account import ACCOUNT, POSITION, open_accounts, open_positions
from streambt_spark.core.broker.fold import disable, fold
from streambt_spark.core.broker.functions import FAILURES, ask, failure
from streambt_spark.core.broker.matching import Market
from streambt_spark.core.broker.orders import ORDER
from streambt_spark.core.broker.placing import aim_all
from streambt_spark.core.broker.recording import Policy, Recorder
from streambt_spark.core.broker.terms import Terms
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import EVENT
from streambt_spark.core.market.panel import Panel
from streambt_spark.core.records import columns_of, records_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Run = Callable[[Callable[[int], list[Events]], Iterable[int]], Iterable[list[Events]]]
"""How lanes are run: `map`, or the map of a pool of threads."""

_TAPE = 8192
"""Events that a tape has room for, beside those of one slice."""


@dataclass(frozen=True, slots=True, eq=False)
class Books:
    """The accounts of L lanes that trade S symbols, between steps."""

    accounts: NDArray[np.void]  # ACCOUNT[L]
    positions: NDArray[np.void]  # POSITION[L, S]
    orders: tuple[NDArray[np.void], ...]  # by lane: ORDER, those that work
    recorders: tuple[Recorder | None, ...]  # by lane, None where all is recorded


def open_books(lanes: Sequence[Terms], symbols: int) -> Books:
    """Return the accounts before the first slice."""
    none = np.empty(0, ORDER)
    return Books(
        open_accounts(len(lanes)),
        open_positions(len(lanes), symbols),
        (none,) * len(lanes),
        tuple(
            None
            if lane.policy is Policy.FULL
            else Recorder.open(lane.policy, int(lane.terms["start_cash"][0]), symbols)
            for lane in lanes
        ),
    )


def trade(
    lanes: Sequence[Terms],
    books: Books,
    panel: Panel,
    sessions: NDArray[np.int64],
    pulses: Sequence[NDArray[np.float64]],
    *,
    run: Run = map,
) -> tuple[Books, list[Events]]:
    """Fold the slices of `panel` into the accounts; `pulses` are float64[S, T], by lane.

    `sessions` numbers the slices' sessions. Returns the accounts after the last slice and the
    events, lane by lane; the argument is left as it was.
    """
    market = Market(
        panel.ts, panel.present, panel.open, panel.high, panel.low, panel.close, panel.volume
    )
    accounts, positions = books.accounts.copy(), books.positions.copy()
    orders, recorders = list(books.orders), list(books.recorders)

    def one(number: int) -> list[Events]:
        lane, recorder = lanes[number], recorders[number]
        desk = _Desk(lane, accounts[number : number + 1], positions[number], orders[number])
        if recorder is not None:
            desk.recorder, desk.sessions = recorder.copy(), sessions
        events = desk.trade(panel, market, np.ascontiguousarray(pulses[number].T))
        orders[number], recorders[number] = desk.working(), desk.recorder
        return events

    parts = [part for events in run(one, range(len(lanes))) for part in events]
    return Books(accounts, positions, tuple(orders), tuple(recorders)), parts


def close_books(books: Books) -> tuple[Books, list[Events]]:
    """Tell what is only known once no slice comes any more; return the accounts and the events."""
    recorders = tuple(recorder and recorder.copy() for recorder in books.recorders)
    parts = [part for recorder in recorders if recorder for part in recorder.close()]
    return Books(books.accounts, books.positions, books.orders, recorders), parts


class _Desk:
    """One lane while it trades: its account, which it writes into, and room for its events."""

    def __init__(
        self,
        lane: Terms,
        account: NDArray[np.void],
        positions: NDArray[np.void],
        orders: NDArray[np.void],
    ) -> None:
        self.lane = lane
        self.account = account
        self.positions = positions
        self.orders = orders
        self.texts: list[str] = []
        self.parts: list[NDArray[np.void]] = []
        self.tape = np.empty(0, EVENT)
        self.recorder: Recorder | None = None
        self.sessions = np.empty(0, np.int64)

    def trade(self, panel: Panel, market: Market, strength: NDArray[np.float64]) -> list[Events]:
        """Fold all slices and return the events, in parts."""
        lane = self.lane
        total, t = len(panel.ts), 0
        while t < total:
            self._make_room(total - t)
            t, used, asked = fold(
                market, strength, t, lane.terms, lane.sizing, lane.traded, lane.fees, self.account,
                self.positions, self.orders, self.tape,
            )  # fmt: skip
            self._take(used, panel)
            if asked:
                self._make_room(1)
                self._take(self._ask(panel, market, strength, t - 1), panel)
        return [Events(part, tuple(self.texts)) for part in self.parts]

    def working(self) -> NDArray[np.void]:
        """Return the orders that work."""
        return self.orders[: int(self.account["orders"][0])].copy()

    def _take(self, used: int, panel: Panel) -> None:
        """Keep what was written to the tape; one that is half full becomes the events itself."""
        if self.recorder is not None:
            self.recorder, records = self.recorder.take(self.tape[:used], panel.ts, self.sessions)
            if len(records):
                self.parts.append(records)
        elif 2 * used > len(self.tape):
            self.parts.append(self.tape[:used])
            self.tape = np.empty(0, EVENT)
        elif used:
            self.parts.append(self.tape[:used].copy())

    def _make_room(self, slices: int) -> None:
        """Make room for the orders and events of at least one slice."""
        symbols, working = len(self.positions), int(self.account["orders"][0])
        if working + 2 * symbols > len(self.orders):
            orders = np.empty(working + 3 * symbols, ORDER)
            orders[:working] = self.orders[:working]
            self.orders = orders
        room = 2 * working + 4 * symbols + 4
        if len(self.tape) < room:
            self.tape = np.empty(room + min(slices, _TAPE), EVENT)

    def _ask(self, panel: Panel, market: Market, strength: NDArray[np.float64], t: int) -> int:
        """Ask the user's allocation about slice t and place its orders; return the events.

        A function that fails is switched off for the rest of the run, and the event says why:
        other lanes must not stop for it, and the ledger must show why this one no longer trades.
        """
        lane, function = self.lane, self.lane.function
        assert function is not None
        try:
            targets = ask(function, panel, t, strength, lane, self.account[0], self.positions)
        except FAILURES as error:
            self.texts.append(failure(error, function))
            return int(
                disable(self.account, lane.terms, market.ts[t], len(self.texts) - 1, self.tape)
            )
        events: int = aim_all(
            market, t, targets, lane.terms, lane.traded, self.account, self.positions, self.orders,
            self.tape,
        )  # fmt: skip
        return events


def encode_books(books: Books) -> dict[str, Any]:
    """Return the accounts as plain arrays by name, for the state's frame."""
    return {
        "accounts": columns_of(books.accounts),
        "positions": columns_of(books.positions),
        "orders": [columns_of(orders) for orders in books.orders],
        "recorders": [recorder and recorder.encoded() for recorder in books.recorders],
    }


def decode_books(body: Mapping[str, Any], lanes: int, symbols: int) -> Books:
    """Return the accounts that `encode_books` wrote.

    Raises KeyError, TypeError or ValueError where they are not those of so many lanes and symbols.
    """
    books = Books(
        records_of(body["accounts"], ACCOUNT),
        records_of(body["positions"], POSITION),
        tuple(records_of(orders, ORDER) for orders in body["orders"]),
        tuple(each and Recorder.decoded(each, symbols) for each in body["recorders"]),
    )
    shapes = (books.accounts.shape, books.positions.shape)
    counts = (len(books.orders), len(books.recorders))
    if (*shapes, *counts) != ((lanes,), (lanes, symbols), lanes, lanes):
        raise ValueError(f"accounts of {shapes}, {counts}")
    return books
