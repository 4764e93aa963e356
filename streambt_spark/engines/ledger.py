"""A run's ledger as its result reads it: when asked, and for all lanes at once.

Only this module knows how the ledger's columns are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.core.ledger.order import canonical_order
from streambt_spark.stores.ledger import LEDGER_SCHEMA, read_ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LedgerSource: TypeAlias = pa.Table | str | Callable[[], pa.Table]
"""A ledger (LEDGER_SCHEMA, its rows in any order), its address, or what returns it when called."""


class Ledger:
    """A ledger in memory, or one that is read when it is first asked for."""

    def __init__(self, source: LedgerSource) -> None:
        self._source = source

    @cached_property
    def table(self) -> pa.Table:
        """All events."""
        if isinstance(self._source, str):
            return read_ledger(self._source)
        return self._source if isinstance(self._source, pa.Table) else self._source()

    def of_lanes(
        self, lanes: Sequence[str], kinds: Sequence[str], columns: Sequence[str]
    ) -> LaneRows:
        """Return some columns of the events of some kinds, lane after lane in the order given.

        Of a stored ledger no more is read, unless all of it has been.
        """
        table, of = self._read(kinds, ("lane", "seq", *columns))
        lane = of.lane.among(lanes)
        rows = np.flatnonzero((lane >= 0) & (of.kind.among(kinds) >= 0))
        lane = lane[rows]
        seq = numbers(table["seq"])[rows]
        order = canonical_order(lane, seq, seq)  # in a lane, seq has the order of time
        rows = rows if order is None else rows[order]
        starts = np.concatenate(([0], np.cumsum(np.bincount(lane, minlength=len(lanes)))))
        known = [name for name in columns if name in table.column_names]
        return LaneRows(tuple(lanes), starts, table.select(known).take(pa.array(rows)))

    def _read(self, kinds: Sequence[str], columns: Sequence[str]) -> tuple[pa.Table, _Codes]:
        """Return a table that has some columns of the events of some kinds, and may have more."""
        if not isinstance(self._source, str) or "table" in self.__dict__:
            return self.table, self._codes
        stored = [name for name in LEDGER_SCHEMA.names if name in {"kind", *columns}]
        table = read_ledger(self._source, columns=stored, kinds=kinds)
        return table, _Codes.of(table)

    @cached_property
    def _codes(self) -> _Codes:
        return _Codes.of(self.table)

    def counts(self) -> dict[str, int]:
        """Return how many rows of the stream were read, accepted, late and so on."""
        table, of = self._read(["counts"], ("lane", "reason", "count"))
        rows = table.select(["reason", "count"]).filter(of.kind.among(["counts"]) >= 0)
        sums = rows.group_by("reason").aggregate([("count", "sum")]).to_pylist()
        return {row["reason"]: int(row["count_sum"]) for row in sums}


@dataclass(frozen=True, slots=True, eq=False)
class _Texts:
    """A column of texts as codes into its words, -1 for null."""

    words: list[str]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> _Texts:
        encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return cls(encoded.dictionary.to_pylist(), codes.astype(np.int32))

    def among(self, words: Sequence[str]) -> NDArray[np.int32]:
        """Return the texts as codes into other words, -1 for those that are none of them."""
        places = {word: place for place, word in enumerate(words)}
        lookup = [*(places.get(word, -1) for word in self.words), -1]
        return np.array(lookup, np.int32)[self.codes]


@dataclass(frozen=True, slots=True, eq=False)
class _Codes:
    """What every question to a ledger is about."""

    lane: _Texts
    kind: _Texts

    @classmethod
    def of(cls, table: pa.Table) -> _Codes:
        return cls(_Texts.of(table["lane"]), _Texts.of(table["kind"]))


@dataclass(frozen=True, slots=True, eq=False)
class LaneRows:
    """Events of some lanes; lane k has the rows from `starts[k]` to `starts[k + 1]`, by seq."""

    lanes: tuple[str, ...]
    starts: NDArray[np.int64]
    table: pa.Table

    @property
    def lane(self) -> NDArray[np.int64]:
        """The index into `lanes` of each row."""
        return np.repeat(np.arange(len(self.lanes)), np.diff(self.starts))

    def numbers(self, column: str) -> NDArray[Any]:
        """Return a column of numbers or times without nulls; times are UTC microseconds."""
        return numbers(self.table[column])

    def codes(self, column: str, words: Sequence[str]) -> NDArray[Any]:
        """Return the indices of a column's texts in `words`, int32."""
        found = pc.index_in(self.table[column], pa.array(list(words), pa.string()))
        return found.to_numpy()  # type: ignore[no-any-return]

    def signs(self) -> NDArray[np.int8]:
        """Return 1 for each purchase and -1 for each sale."""
        return (2 * self.codes("side", ("sell", "buy")) - 1).astype(np.int8)


def numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers or times without nulls; times are UTC microseconds."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return column.to_numpy()  # type: ignore[no-any-return]
