"""Many rows in portions of bounded size that are later and later, whatever order they come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from streambt_spark.core.market.slices import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some rows: how many, their first and last time (UTC µs), and how to get them."""

    count: int
    first: int
    last: int
    load: Callable[[], Rows]

    @classmethod
    def of(cls, rows: Rows) -> Part:
        """Return rows that are at hand as a part."""
        first, last = (int(rows.ts.min()), int(rows.ts.max())) if len(rows) else (0, 0)
        return cls(len(rows), first, last, lambda: rows)


def portions(parts: Iterable[Part], size: int) -> Iterator[Rows]:
    """Yield the rows of all parts in portions of about `size`, each later than those before it.

    No time is in two portions, so a block makes the same of them, one after the other, as of all
    rows at once. (Only of a symbol's bars that are out of order over several batches do the calls
    decide which are late, see `slices.advance`.) A part is loaded when its portion is due. Parts
    that overlap in time make larger portions.
    """
    waiting = sorted((part for part in parts if part.count), key=lambda part: -part.first)
    held: list[Part] = []
    while waiting:
        held.append(waiting.pop())
        if not waiting:
            yield Rows.concat(*(part.load() for part in held))
        elif sum(part.count for part in held if part.last < waiting[-1].first) >= size:
            early, held = _split(held, waiting[-1].first)
            yield early


def _split(parts: Iterable[Part], ts: int) -> tuple[Rows, list[Part]]:
    """Return the rows before a time, and the parts with those from it on."""
    early, rest = [], []
    for part in parts:
        rows = part.load()
        early.append(rows.where(rows.ts < ts))
        if part.last >= ts:
            rest.append(Part.of(rows.where(rows.ts >= ts)))
    return Rows.concat(*early), rest
