"""Portions under any arrival: a block makes of them what it makes of all rows at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streambt_spark.core.market.portions import Part, portions
from streambt_spark.core.market.rows import COLUMNS, HEADER, Rows
from streambt_spark.core.market.slices import Release, align, open_buffer
from tests.property.streams import deliveries, markets
from tests.property.test_slices import SYMBOLS, streams


def cells(rows: Rows) -> list[tuple[object, ...]]:
    """Return rows as tuples, sorted, with every column there can be."""
    header = (getattr(rows, name).tolist() for name in HEADER)
    columns = [*header, *(rows.column(name).tolist() for name in COLUMNS)]
    return sorted(map(tuple, map(repr, zip(*columns, strict=True))))


def told(releases: list[Release]) -> tuple[object, ...]:
    """Return the slices that were released, and what was set aside."""
    panels = [
        (release.panel.ts[at], release.panel.present[at].tolist(), repr(release.panel.close[at]))
        for release in releases
        for at in range(len(release.panel.ts))
    ]
    aside = [
        cells(Rows.concat(*(getattr(release, name) for release in releases)))
        for name in ("late", "history", "duplicate", "rejected")
    ]
    return panels, aside, sum(r.read for r in releases), sum(r.accepted for r in releases)


def check(data: st.DataObject, rows: Rows, symbols: tuple[str, ...]) -> None:
    """Cut rows into parts anywhere, and compare their portions with all rows at once."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=6)))
    parts = [Part.of(rows.take(slice(*cut))) for cut in pairwise([0, *cuts, len(rows)])]
    cut = list(portions(parts, data.draw(st.integers(1, 20))))
    assert cells(Rows.concat(*cut)) == cells(rows)
    sound = [portion.places()[portion.fault == 0] for portion in cut]
    ordered = [places for places in sound if len(places)]
    assert all(a.max() < b.min() for a, b in pairwise(ordered))
    _, at_once = align(open_buffer(len(symbols)), rows, symbols)
    buffer, releases = open_buffer(len(symbols)), []
    for portion in cut:
        buffer, release = align(buffer, portion, symbols)
        releases.append(release)
    assert told(releases) == told([at_once])


@given(st.data())
def test_portions_change_nothing(data: st.DataObject) -> None:
    """Rows of any order, some of them twice or faulty, cut into parts anywhere."""
    bars = data.draw(markets())
    rows = Rows.concat(*data.draw(deliveries(bars)))
    again = st.lists(st.integers(0, len(rows) - 1), max_size=4)
    rows = rows.take(np.array([*range(len(rows)), *data.draw(again)], np.intp))
    rows.fault[data.draw(again)] = 3
    check(data, rows, bars.symbols)


@given(st.data(), streams())
def test_portions_of_a_stream_in_disorder_change_nothing(data: st.DataObject, rows: Rows) -> None:
    """Numbered or not, late, repeated and from far ahead, and shuffled before it is cut."""
    order = data.draw(st.permutations(range(len(rows))))
    check(data, rows.take(np.array(order, np.intp)), SYMBOLS)
