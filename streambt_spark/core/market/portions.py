"""Many rows in portions of bounded size, one after the other in the order of the stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from streambt_spark.core.market.rows import NULL, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some rows: how many, their first and last place in the stream, and how to get them."""

    count: int
    first: int
    last: int
    load: Callable[[], Rows]

    @classmethod
    def of(cls, rows: Rows) -> Part:
        """Return rows that are at hand as a part.

        A faulty row is set aside wherever it stands, so its place, which may be any, counts not.
        """
        sound = rows.where(rows.fault == 0)
        places = sound.places()
        first, last = (int(places.min()), int(places.max())) if len(places) else (NULL, NULL)
        return cls(len(rows), first, last, lambda: rows)


def portions(parts: Iterable[Part], size: int) -> Iterator[Rows]:
    """Yield the rows of all parts in portions of about `size`, each after those before it.

    No place is in two portions, so a block makes the same of them, one after the other, as of all
    rows at once (see `slices`). A part is loaded when its portion is due. Parts that overlap make
    larger portions.
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


def _split(parts: Iterable[Part], place: int) -> tuple[Rows, list[Part]]:
    """Return the rows before a place and the faulty ones, and the parts with those from it on."""
    early, rest = [], []
    for part in parts:
        rows = part.load()
        before = (rows.places() < place) | (rows.fault != 0)
        early.append(rows.where(before))
        if part.last >= place:
            rest.append(Part.of(rows.where(~before)))
    return Rows.concat(*early), rest
