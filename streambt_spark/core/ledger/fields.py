"""The registry of ledger fields: the one place that says what an event can hold.

From REGISTRY follow the record dtype of events, the blank event, the canonical bytes, the table's
schema in Arrow, Delta and Spark, and every decoder. A field or a kind that is added here is known
everywhere, and changes no digest of a run that does not use it: numbers are permanent, and an event
is hashed by its fields that are not null.

A field holds a number, or a code that points into a vocabulary of words. Some vocabularies are
fixed (kind, side, reason), the others are the run's own (lane, symbol, currency, text).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streambt_spark.core.market.faults import Reason
from streambt_spark.core.market.rows import RowKind
from streambt_spark.core.records import record_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

NULL = np.iinfo(np.int64).min
"""Null of an integer; every amount in a ledger is bounded far inside of it."""

RUN_WORDS = ("lane", "symbol", "currency", "text")
"""The vocabularies that each run has of its own; the others are fixed."""

MOST_FIELDS = 64
"""An event's mask of fields is 64 bits wide."""


class Words(NamedTuple):
    """A vocabulary: code `first + i` stands for `texts[i]`, which is None for null."""

    texts: tuple[str | None, ...]
    first: int = 0

    def text(self, code: int) -> str | None:
        """Return the text of a code."""
        return self.texts[code - self.first]


@dataclass(frozen=True, slots=True)
class Field:
    """A column of the ledger.

    `number` is its place in the canonical form, for ever. `words` names the vocabulary that codes
    point into, None for a number; `null` is the value that stands for nothing.
    """

    number: int
    name: str
    dtype: str
    null: float
    words: str | None
    doc: str

    @property
    def is_float(self) -> bool:
        """Whether it holds a float64."""
        return np.dtype(self.dtype).kind == "f"

    def nulls(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where numbers are null."""
        mask: NDArray[np.bool_] = np.isnan(values) if self.is_float else values == self.null
        return mask


@dataclass(frozen=True, slots=True)
class KindSpec:
    """A kind of event: the fields it may carry beside lane, ts, seq and kind.

    An audit event tells how rows arrived and not what an account did; it has no lane and stays
    outside the digest.
    """

    number: int
    name: str
    fields: tuple[str, ...]
    audit: bool
    doc: str


@dataclass(frozen=True)
class Registry:
    """Fields and kinds by their numbers, and the vocabularies that are fixed."""

    fields: tuple[Field, ...]
    kinds: tuple[KindSpec, ...]
    fixed: Mapping[str, Words]

    def __post_init__(self) -> None:
        numbers = [field.number for field in self.fields]
        assert sorted(set(numbers)) == numbers, "each field has a number of its own, in order"
        assert max(numbers) < MOST_FIELDS, "the mask of an event is full"
        assert all(set(kind.fields) <= set(self.names) for kind in self.kinds)

    def extended(self, fields: Sequence[Field] = (), kinds: Sequence[KindSpec] = ()) -> Registry:
        """Return a copy with more fields and kinds."""
        return replace(self, fields=(*self.fields, *fields), kinds=(*self.kinds, *kinds))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The fields' names: the ledger's columns in order."""
        return tuple(field.name for field in self.fields)

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """The record of an event, wide values first so that each is aligned."""
        wide_first = sorted(self.fields, key=lambda field: -np.dtype(field.dtype).itemsize)
        return record_of(*((field.name, field.dtype) for field in wide_first))

    @cached_property
    def blank(self) -> NDArray[np.void]:
        """One event in which every field is null."""
        record = np.zeros(1, self.dtype)
        for field in self.fields:
            record[field.name] = field.null
        return record

    @cached_property
    def audit(self) -> tuple[str, ...]:
        """The names of the audit kinds."""
        return tuple(kind.name for kind in self.kinds if kind.audit)

    def kind(self, name: str) -> KindSpec:
        """Return a kind by its name."""
        return next(kind for kind in self.kinds if kind.name == name)

    def vocabulary(
        self,
        lanes: Sequence[str] = (),
        symbols: Sequence[str] = (),
        currencies: Sequence[str] = (),
        texts: Sequence[str] = (),
    ) -> dict[str, Words]:
        """Return all vocabularies; an audit event's lane is ''."""
        kinds = dict.fromkeys(range(max(kind.number for kind in self.kinds) + 1))
        names = kinds | {kind.number: kind.name for kind in self.kinds}
        return {
            **self.fixed,
            "kind": Words(tuple(names.values())),
            "lane": Words(("", *lanes), -1),
            "symbol": Words((None, *symbols), -1),
            "currency": Words((None, *currencies), -1),
            "text": Words((None, *texts), -1),
        }


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
    CANCEL = 12
    EXPIRE = 13
    FLUSH = 14
    SPLIT = 15
    DIVIDEND = 16
    MARGIN = 17
    SUMMARY = 18


class Side(IntEnum):
    """The direction of an order; quantities are never negative."""

    BUY = 1
    SELL = -1


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
    "unsupported",
    "quantity_too_large",
    "value_too_large",
    *Reason,
    "repeated",
    "conflicting",
    *(kind.name.lower() for kind in RowKind),
)
"""Reasons by code: a kernel writes the code, the ledger the text."""


def _fields() -> tuple[Field, ...]:
    whole, real, none = "i8", "f8", math.nan
    return (
        Field(0, "lane", "i4", -1, "lane", "the strategy's id; '' for an audit event"),
        Field(1, "ts", whole, NULL, None, "the slice's time, UTC microseconds"),
        Field(2, "seq", whole, NULL, None, "the event's number in its lane, from 0 without a gap"),
        Field(3, "kind", "i1", -1, "kind", "what happened"),
        Field(4, "symbol", "i4", -1, "symbol", "what traded"),
        Field(5, "side", "i1", 0, "side", "buy or sell"),
        Field(6, "order_id", whole, NULL, None, "the order's number, that of its order event"),
        Field(7, "quantity", real, none, None, "units ordered or filled, never negative"),
        Field(8, "price", real, none, None, "of a fill; of an order the close it was sized at"),
        Field(9, "commission", whole, NULL, None, "minor units, part of amount"),
        Field(10, "amount", whole, NULL, None, "minor units that the cash changed by"),
        Field(11, "currency", "i1", -1, "currency", "of every amount of money in the event"),
        Field(12, "cash", whole, NULL, None, "minor units after the event"),
        Field(13, "position", real, none, None, "units held of the symbol after the event"),
        Field(14, "equity", whole, NULL, None, "minor units: cash and positions at their close"),
        Field(15, "exposure", whole, NULL, None, "minor units: gross value of the positions"),
        Field(16, "reason", "i1", 0, "reason", "why, in one word"),
        Field(17, "text", "i4", -1, "text", "why, in the words of what failed"),
        Field(18, "count", whole, NULL, None, "how many rows"),
    )


def _kinds() -> tuple[KindSpec, ...]:
    order = ("symbol", "side", "order_id", "quantity")
    money = ("amount", "currency", "cash")

    def kind(of: Kind, fields: tuple[str, ...], doc: str, *, audit: bool = False) -> KindSpec:
        return KindSpec(int(of), of.name.lower(), fields, audit, doc)

    return (
        kind(Kind.CASH, (*money, "reason"), "a posting that is no fill"),
        kind(Kind.ORDER, (*order, "price"), "an order; its id is its seq in a full ledger"),
        kind(Kind.FILL, (*order, "price", "commission", *money, "position"), "a trade"),
        kind(
            Kind.REJECT, (*order, "price", "reason"), "an order, or its rest, that ended unfilled"
        ),
        kind(Kind.EQUITY, ("currency", "cash", "equity", "exposure"), "the account after a slice"),
        kind(Kind.DISABLED, ("reason", "text"), "the lane places no more orders"),
        kind(Kind.LATE, ("symbol", "reason"), "a bar of a slice that is out", audit=True),
        kind(Kind.DUPLICATE, ("symbol", "reason"), "a second bar of a time", audit=True),
        kind(Kind.REJECTED, ("symbol", "reason", "text"), "a row that is invalid", audit=True),
        kind(Kind.COUNTS, ("reason", "count"), "how many rows were of what kind", audit=True),
        kind(Kind.END, (), "every symbol has ended", audit=True),
        kind(Kind.UNSUPPORTED, ("symbol", "reason"), "a row of no use yet", audit=True),
        kind(Kind.CANCEL, (*order, "reason"), "an order taken back"),
        kind(Kind.EXPIRE, (*order, "reason"), "an order past its time"),
        kind(Kind.FLUSH, ("symbol", "reason"), "a slice closed without a symbol", audit=True),
        kind(Kind.SPLIT, ("symbol", "quantity", "price", *money, "position"), "a split"),
        kind(Kind.DIVIDEND, ("symbol", *money), "a dividend"),
        kind(Kind.MARGIN, (*money, "equity", "reason"), "what is borrowed, or a call for more"),
        kind(Kind.SUMMARY, ("currency", "text"), "the figures of a lane that records nothing else"),
    )


REGISTRY = Registry(
    _fields(),
    _kinds(),
    {"side": Words(("sell", None, "buy"), -1), "reason": Words(REASONS)},
)
EVENT = REGISTRY.dtype
"""The record of an event."""
