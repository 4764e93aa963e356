"""The ledger: what happened to an account, one event a row, and its canonical digest.

An event belongs to a lane (one strategy with its parameters and its portfolio), carries the time
of its slice and a number `seq` that counts the lane's events from 0 without a gap. Money is an
int64 count of the currency's minor unit (cents), prices and quantities are float64.

kind      fields beside lane, ts, seq and kind
cash      amount, cash, reason                               a posting that is no fill ('initial')
order     symbol, side, order_id (= its seq), quantity, price (the close it was sized at)
fill      symbol, side, order_id, quantity, price, commission, amount, cash, position
reject    symbol, side, order_id, quantity, price, reason
equity    cash, equity, exposure (gross value of the positions), once for each slice

Audit kinds (lane '', outside the digest, for they tell how the rows arrived and not what the
account did): late, duplicate, rejected, counts, end.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

NULL = np.iinfo(np.int64).min
"""Stands for null in the integer columns."""


class Kind(IntEnum):
    """The kinds of events; the name in lower case is what the ledger stores."""

    CASH = 0
    ORDER = 1
    FILL = 2
    REJECT = 3
    EQUITY = 4
    LATE = 5
    DUPLICATE = 6
    REJECTED = 7
    COUNTS = 8
    END = 9


AUDIT = frozenset({Kind.LATE, Kind.DUPLICATE, Kind.REJECTED, Kind.COUNTS, Kind.END})


class Side(IntEnum):
    """The direction of an order; quantities are never negative."""

    BUY = 1
    SELL = -1


KIND_NAMES = tuple(kind.name.lower() for kind in Kind)
SIDE_NAMES = {0: None, 1: "buy", -1: "sell"}
REASONS: tuple[str | None, ...] = (
    None,
    "initial",
    "insufficient_cash",
    "short_not_allowed",
    "insufficient_collateral",
    "zero_quantity",
    "late",
    "duplicate",
    "unknown_symbol",
    "malformed",
    "read",
    "accepted",
)
"""Reason texts by code: a kernel writes the code, the ledger the text."""

COLUMNS = (
    "lane", "ts", "seq", "kind", "symbol", "side", "order_id", "quantity", "price",
    "commission", "amount", "cash", "position", "equity", "exposure", "reason",
)  # fmt: skip
"""The ledger's columns in canonical order."""


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Events as columns of codes, all of one length, ordered by (lane, ts, seq) within a step."""

    lane: NDArray[np.int32]  # index into the plan's lanes; -1 for an audit event
    ts: NDArray[np.int64]  # UTC microseconds
    seq: NDArray[np.int64]
    kind: NDArray[np.int8]
    symbol: NDArray[np.int32]  # index into the universe; -1 for none
    side: NDArray[np.int8]  # 1 buy, -1 sell, 0 none
    order_id: NDArray[np.int64]  # NULL for none
    quantity: NDArray[np.float64]  # NaN for none
    price: NDArray[np.float64]  # NaN for none
    commission: NDArray[np.int64]  # NULL for none; also the four below
    amount: NDArray[np.int64]
    cash: NDArray[np.int64]
    position: NDArray[np.float64]  # NaN for none
    equity: NDArray[np.int64]
    exposure: NDArray[np.int64]
    reason: NDArray[np.int8]  # index into REASONS

    def __len__(self) -> int:
        return len(self.seq)

    @classmethod
    def empty(cls) -> Events:
        """Return no events."""
        return cls(**{name: np.empty(0, dtype) for name, dtype in DTYPES.items()})

    @classmethod
    def concat(cls, parts: Sequence[Events]) -> Events:
        """Return the events of all parts, in order."""
        if not parts:
            return cls.empty()
        columns = {n: np.concatenate([getattr(p, n) for p in parts]) for n in DTYPES}
        return cls(**columns)


DTYPES: dict[str, type[np.generic]] = {
    "lane": np.int32, "ts": np.int64, "seq": np.int64, "kind": np.int8, "symbol": np.int32,
    "side": np.int8, "order_id": np.int64, "quantity": np.float64, "price": np.float64,
    "commission": np.int64, "amount": np.int64, "cash": np.int64, "position": np.float64,
    "equity": np.int64, "exposure": np.int64, "reason": np.int8,
}  # fmt: skip
assert tuple(f.name for f in fields(Events)) == tuple(DTYPES) == COLUMNS


def canonical_lines(columns: dict[str, Sequence[object]]) -> Iterator[str]:
    """Yield one JSON line for each row of decoded columns, already sorted by (lane, ts, seq).

    Texts are plain identifiers, so they need no escapes; floats are hexadecimal (every bit),
    times are UTC microseconds, None and NaN are null.
    """
    cells = [[_cell(value) for value in columns[name]] for name in COLUMNS]
    for row in zip(*cells, strict=True):
        yield "[" + ",".join(row) + "]"


def _cell(value: object) -> str:
    if value is None or value != value:
        return "null"
    if isinstance(value, float):
        return f'"{value.hex()}"'
    return f'"{value}"' if isinstance(value, str) else str(value)


def digest_lines(lines: Iterable[str]) -> str:
    """Return the SHA-256 over lines, each ended by a newline."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
