"""Portions under any arrival: a block makes of them what it makes of all rows at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streambt_spark.core.market.portions import Part, portions
from streambt_spark.core.market.slices import Release, Rows, advance, open_buffer
from tests.property.streams import deliveries, markets


def cells(rows: Rows) -> list[tuple[object, ...]]:
    """Return rows as tuples, sorted; a mark's prices count as well."""
    columns = (getattr(rows, name).tolist() for name in Rows.__slots__)
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
        for name in ("late", "duplicate", "rejected")
    ]
    return panels, aside, sum(r.read for r in releases), sum(r.accepted for r in releases)


@given(st.data())
def test_portions_change_nothing(data: st.DataObject) -> None:
    """Rows of any order, some of them twice or faulty, cut into parts anywhere."""
    bars = data.draw(markets())
    rows = Rows.concat(*data.draw(deliveries(bars)))
    again = st.lists(st.integers(0, len(rows) - 1), max_size=4)
    rows = rows.take(np.array([*range(len(rows)), *data.draw(again)], np.intp))
    rows.fault[data.draw(again)] = 3
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=6)))
    ranges = zip([0, *cuts], [*cuts, len(rows)], strict=True)
    parts = [Part.of(rows.take(slice(start, stop))) for start, stop in ranges]
    cut = list(portions(parts, data.draw(st.integers(1, 20))))
    assert cells(Rows.concat(*cut)) == cells(rows)
    assert all(a.ts.max() < b.ts.min() for a, b in pairwise(cut))
    _, at_once = advance(open_buffer(len(bars.symbols)), rows, bars.symbols)
    buffer, releases = open_buffer(len(bars.symbols)), []
    for portion in cut:
        buffer, release = advance(buffer, portion, bars.symbols)
        releases.append(release)
    assert told(releases) == told([at_once])
