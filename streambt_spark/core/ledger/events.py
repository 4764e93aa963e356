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
disabled  reason; the lane's allocation raised, it places no more orders

Audit kinds (lane '', outside the digest, for they tell how the rows arrived and not what the
account did): late, duplicate, rejected, counts, end; unsupported is a row of a kind that changes
nothing yet, which its reason names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark.core.market.faults import Reason
from streambt_spark.core.market.rows import RowKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
    DISABLED = 5
    LATE = 6
    DUPLICATE = 7
    REJECTED = 8
    COUNTS = 9
    END = 10
    UNSUPPORTED = 11


AUDIT = frozenset(
    {Kind.LATE, Kind.DUPLICATE, Kind.REJECTED, Kind.COUNTS, Kind.END, Kind.UNSUPPORTED}
)


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
    "allocation_raised",
    "late",
    "duplicate",
    "read",
    "accepted",
    "rejected",
    *Reason,
    "repeated",
    "conflicting",
    *(kind.name.lower() for kind in RowKind),
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


_TEXT = frozenset({"lane", "kind", "symbol", "side", "reason"})
_FLOAT = frozenset({"quantity", "price", "position"})


def digest(columns: Mapping[str, Sequence[Any]]) -> str:
    """Return the SHA-256 over the canonical ledger.

    `columns` are decoded values by name, None for null, sorted by (lane, ts, seq) and without audit
    events; `ts` is UTC microseconds.
    """
    sha = hashlib.sha256()
    for line in canonical_lines(columns):
        sha.update(line.encode() + b"\n")
    return sha.hexdigest()


def canonical_lines(columns: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Yield a JSON array for each event, in the order of COLUMNS.

    Floats are hexadecimal texts (every bit), texts are identifiers that need no escapes.
    """
    for row in zip(*(_cells(name, columns[name]) for name in COLUMNS), strict=True):
        yield "[" + ",".join(row) + "]"


def _cells(name: str, values: Sequence[Any]) -> list[str]:
    if name in _TEXT:
        texts = {value: "null" if value is None else f'"{value}"' for value in set(values)}
        return [texts[value] for value in values]
    if name in _FLOAT:
        return ["null" if v is None or v != v else f'"{v.hex()}"' for v in values]
    return ["null" if value is None else str(value) for value in values]
