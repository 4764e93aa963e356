"""Rows: all that reaches the core, each of a kind with named columns, in one ordered stream.

A row's kind says which columns it has beside the header (kind, symbol, ts, seq, known_at): one
registry, from which the forms of the stream follow (JSON, packs, Spark). Numbers and names are
permanent; kinds and columns are added at the end. Only the columns that occur are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark.core.market.bars import FIELDS, interval_us
from streambt_spark.core.market.faults import CODES, Reason, fault_codes, out_of_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.market.bars import Bars

NULL = np.iinfo(np.int64).min
"""Stands for a time or a number `seq` that is not given."""
LAST = np.iinfo(np.int64).max


class RowKind(IntEnum):
    """What a row is; the name in lower case is what the stream calls it."""

    BAR = 0
    HEARTBEAT = 1
    END = 2
    FLUSH = 3
    ORDER = 4
    CANCEL = 5
    EXECUTION = 6
    SPLIT = 7
    DIVIDEND = 8
    RATE = 9


UNKNOWN = -1
"""The kind of a row that calls itself something else; it is refused by that name."""

MARKS = (RowKind.HEARTBEAT, RowKind.END)
"""The kinds that say how far a symbol has shown its bars, or every one has, and nothing else."""


class Form(Enum):
    """What a column holds: a number, a time (UTC µs), a word of a fixed vocabulary, or a text."""

    NUMBER = "number"
    TIME = "time"
    WORD = "word"
    TEXT = "text"


_STORED: dict[Form, tuple[str, Any]] = {
    Form.NUMBER: ("f8", np.nan),
    Form.TIME: ("i8", NULL),
    Form.WORD: ("i1", -1),
    Form.TEXT: ("O", None),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A payload column; where it is a word, its code points into `words`."""

    name: str
    form: Form
    words: tuple[str, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """What an array of it holds."""
        return np.dtype(_STORED[self.form][0])

    def nulls(self, count: int) -> NDArray[Any]:
        """Return `count` values that are not given."""
        return np.full(count, _STORED[self.form][1], self.dtype)


def _columns(*columns: Column) -> dict[str, Column]:
    return {column.name: column for column in columns}


COLUMNS = _columns(
    *(Column(name, Form.NUMBER) for name in FIELDS),
    Column("policy", Form.WORD, ("carry", "skip", "zero")),
    Column("side", Form.WORD, ("buy", "sell")),
    Column("quantity", Form.NUMBER),
    Column("type", Form.WORD, ("market", "limit", "stop", "stop_limit", "trail", "trail_limit")),
    Column("limit", Form.NUMBER),
    Column("stop", Form.NUMBER),
    Column("trail", Form.NUMBER),  # in units of the price
    Column("trail_percent", Form.NUMBER),
    Column("time_in_force", Form.WORD, ("gtc", "day", "gtd", "ioc", "fok", "opening", "closing")),
    Column("expires", Form.TIME),  # the last moment included
    Column("id", Form.TEXT),
    Column("parent", Form.TEXT),
    Column("tag", Form.TEXT),
    Column("lane", Form.TEXT),  # whose account it is, where there are several
    Column("price", Form.NUMBER),
    Column("commission", Form.NUMBER),
    Column("ratio", Form.NUMBER),  # new shares for an old one
    Column("amount", Form.NUMBER),  # for one share
    Column("currency", Form.TEXT),
    Column("pay_date", Form.TIME),
    Column("quote", Form.TEXT),  # the currency in which a rate prices one unit of `currency`
    Column("rate", Form.NUMBER),
    Column("name", Form.TEXT),  # what a row of an unknown kind calls itself
)
"""Every payload column. A name means the same in each kind that has it."""


@dataclass(frozen=True, slots=True)
class KindSpec:
    """The payload columns of a kind, and what a row of it must give, header included."""

    columns: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


KINDS: dict[int, KindSpec] = {
    RowKind.BAR: KindSpec(FIELDS, ("symbol", "ts", *FIELDS)),
    # The symbol has shown all its bars up to and including ts; without a symbol, every one has.
    RowKind.HEARTBEAT: KindSpec((), ("ts",)),
    RowKind.END: KindSpec(),
    # Slice ts is closed without the symbol, or without every one that is missing.
    RowKind.FLUSH: KindSpec(("policy",), ("ts", "policy")),
    RowKind.ORDER: KindSpec(
        (
            "side", "quantity", "type", "limit", "stop", "trail", "trail_percent",
            "time_in_force", "expires", "id", "parent", "tag", "lane",
        ),
        ("symbol", "ts", "side", "quantity"),
    ),
    RowKind.CANCEL: KindSpec(("id", "lane"), ("ts", "id")),
    RowKind.EXECUTION: KindSpec(
        ("id", "side", "quantity", "price", "commission", "lane"), ("ts", "id", "quantity", "price")
    ),
    RowKind.SPLIT: KindSpec(("ratio",), ("symbol", "ts", "ratio")),
    RowKind.DIVIDEND: KindSpec(("amount", "currency", "pay_date"), ("symbol", "ts", "amount")),
    RowKind.RATE: KindSpec(("currency", "quote", "rate"), ("ts", "currency", "quote", "rate")),
    UNKNOWN: KindSpec(("name",)),
}  # fmt: skip
"""What each kind of row has; the numbers of RowKind, and UNKNOWN."""

HEADER = {"kind": "i1", "code": "i4", "ts": "i8", "seq": "i8", "known_at": "i8", "fault": "i1"}
"""What every row has, and its type."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """N rows of the stream.

    `code` points into the universe, -1 for every symbol, or for one that is not in it; `ts` is a
    bar's start and else the time of what it tells; `seq` is the row's number in the stream, NULL
    where it has none; `known_at` is when it may be used, for a bar its end, NULL for at once;
    `fault` is a code into FAULTS, 0 for a row that may be used. `payload` holds the columns of
    COLUMNS that occur, with nulls in the rows that have them not.
    """

    kind: NDArray[np.int8]
    code: NDArray[np.int32]
    ts: NDArray[np.int64]
    seq: NDArray[np.int64]
    known_at: NDArray[np.int64]
    fault: NDArray[np.int8]
    payload: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ts)

    def column(self, name: str) -> NDArray[Any]:
        """Return a payload column, nulls where it does not occur."""
        return self.payload[name] if name in self.payload else COLUMNS[name].nulls(len(self))

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Rows:
        """Return the rows that a NumPy index, mask or slice selects."""
        header: dict[str, Any] = {name: getattr(self, name)[index] for name in HEADER}
        return Rows(**header, payload={n: values[index] for n, values in self.payload.items()})

    def where(self, mask: NDArray[np.bool_]) -> Rows:
        """Return the rows where `mask` is True; itself, uncopied, where it is True everywhere."""
        return self if mask.all() else self.take(mask)

    def split(self, at: int) -> tuple[Rows, Rows]:
        """Return the first `at` rows and the others; itself, uncopied, where these are none."""
        if at >= len(self):
            return self, _NONE
        return self.take(slice(0, at)), self.take(slice(at, None))

    @classmethod
    def concat(cls, *parts: Rows) -> Rows:
        """Return the rows of all parts, in order; a part that is alone, uncopied."""
        parts = tuple(part for part in parts if len(part))
        if len(parts) < 2:
            return parts[0] if parts else cls.none()
        header: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in HEADER
        }
        names = [name for name in COLUMNS if any(name in part.payload for part in parts)]
        payload = {name: np.concatenate([part.column(name) for part in parts]) for name in names}
        return cls(**header, payload=payload)

    @classmethod
    def none(cls) -> Rows:
        """Return no rows."""
        return _NONE

    def numbered(self) -> bool:
        """Return whether a row has a number."""
        return bool(self.seq.max(initial=NULL) != NULL)

    def places(self) -> NDArray[np.int64]:
        """Return each row's place in the stream: its seq or, without one, its time in `until`."""
        times = self.until()
        return np.where(self.seq == NULL, times, self.seq) if self.numbered() else times

    def until(self) -> NDArray[np.int64]:
        """Return the time that each row speaks of; an end, whatever its ts, of all that comes."""
        ends = self.kind == RowKind.END
        return np.where(ends, LAST, self.ts) if ends.any() else self.ts


_NONE = Rows(**{name: np.empty(0, dtype) for name, dtype in HEADER.items()})  # type: ignore[arg-type]


def rows_of_bars(bars: Bars) -> Rows:
    """Return bars as rows of the stream."""
    count, ends = len(bars), bars.ts + interval_us(bars.interval)
    fields = {name: getattr(bars, name) for name in FIELDS}
    kind, fault = np.zeros(count, np.int8), np.zeros(count, np.int8)
    return Rows(kind, bars.code, bars.ts, np.full(count, NULL), ends, fault, fields)


def one_row(
    kind: int, ts: int, *, code: int = -1, seq: int = NULL, known_at: int = NULL, **payload: Any
) -> Rows:
    """Return one row, without a code of every symbol; a word of its payload is given as text."""
    columns = {}
    for name, value in payload.items():
        column = COLUMNS[name]
        cell = column.words.index(value) if column.form is Form.WORD else value
        columns[name] = np.array([cell], column.dtype)
    cells = {"kind": kind, "code": code, "ts": ts, "seq": seq, "known_at": known_at, "fault": 0}
    header: dict[str, Any] = {n: np.array([cells[n]], dtype) for n, dtype in HEADER.items()}
    return Rows(**header, payload=columns)


def kind_names(rows: Rows) -> list[str]:
    """Return what the stream calls the kind of each row."""
    names = rows.column("name")
    return [
        str(names[at]) if kind == UNKNOWN else RowKind(kind).name.lower()
        for at, kind in enumerate(rows.kind.tolist())
    ]


def screen(rows: Rows, interval: str) -> Rows:
    """Return the rows with a fault set on each that is invalid; a fault it has already stays.

    A row of an unknown kind is refused, and of any kind one whose times are out of range or whose
    numbers are infinite; so is a bar that breaks a rule of `fault_codes`, or what needs a symbol
    and has none of the universe.
    """
    fields = {name: rows.column(name) for name in FIELDS}
    faults = fault_codes(rows.ts, fields, interval)
    faults[rows.code < 0] = CODES[Reason.UNKNOWN_SYMBOL]
    others = rows.kind != RowKind.BAR
    if others.any():
        faults[others] = _other_faults(rows.take(others))
    return replace(rows, fault=np.where(rows.fault != 0, rows.fault, faults))


def _other_faults(rows: Rows) -> NDArray[np.int8]:
    """Return the faults of rows that are no bars."""
    faults = np.zeros(len(rows), np.int8)
    for name, values in rows.payload.items():
        column = COLUMNS[name]
        if column.form is Form.NUMBER:
            faults[np.isinf(values)] = CODES[Reason.NOT_FINITE]
        elif column.form is Form.TIME:
            faults[(values != NULL) & out_of_range(values)] = CODES[Reason.BAD_TIME]
    faults[(rows.ts != NULL) & out_of_range(rows.ts)] = CODES[Reason.BAD_TIME]
    nowhere = (rows.code < 0) & np.isin(rows.kind, kinds_needing("symbol"))
    faults[nowhere] = CODES[Reason.UNKNOWN_SYMBOL]
    faults[rows.kind == UNKNOWN] = CODES[Reason.UNKNOWN_KIND]
    return faults


def kinds_needing(name: str) -> list[int]:
    """Return the kinds of rows that must give a column."""
    return [int(kind) for kind, spec in KINDS.items() if name in spec.needs]


def kinds_with(name: str) -> list[int]:
    """Return the kinds of rows that have a payload column."""
    return [int(kind) for kind, spec in KINDS.items() if name in spec.columns]


def columns_of(kinds: Iterable[int]) -> list[Column]:
    """Return the payload columns that rows of these kinds have, in the registry's order."""
    names = {name for kind in kinds for name in KINDS[kind].columns}
    return [column for name, column in COLUMNS.items() if name in names]
