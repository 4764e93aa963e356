"""Slices and whole blocks under any arrival of the rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streambt_spark.core.market.bars import FIELDS, Bars
from streambt_spark.core.market.slices import Mark, Rows, advance, has_ended, open_buffer
from tests.property.streams import deliveries, markets


def cells_of(bars: Bars) -> list[tuple[float, ...]]:
    """Return bars as tuples in the order of slices."""
    columns = (bars.ts, bars.code, *(getattr(bars, name) for name in FIELDS))
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


@given(st.data())
def test_each_slice_is_released_once_whole_and_in_order(data: st.DataObject) -> None:
    """However the rows arrive, the slices are those of the sorted bars, and all are accepted."""
    bars = data.draw(markets())
    buffer, found, times = open_buffer(len(bars.symbols)), [], []
    for rows in data.draw(deliveries(bars)):
        buffer, release = advance(buffer, rows, bars.symbols)
        panel = release.panel
        times += panel.ts.tolist()
        at, code = np.nonzero(panel.present)
        values = [getattr(panel, name)[at, code].tolist() for name in FIELDS]
        found += list(zip(panel.ts[at].tolist(), code.tolist(), *values, strict=True))
        assert np.isnan(panel.close[~panel.present]).all()
        assert release.read == release.accepted
        assert [len(release.late), len(release.duplicate), len(release.rejected)] == [0, 0, 0]
    assert found == cells_of(bars)
    assert times == sorted(set(bars.ts.tolist()))
    assert has_ended(buffer)


@given(st.data())
def test_every_row_is_accounted_for(data: st.DataObject) -> None:
    """read == accepted + duplicate + late + rejected in each call; rows come again, or bad."""
    bars = data.draw(markets())
    buffer, accepted, sent = open_buffer(len(bars.symbols)), 0, Rows.none()
    for rows in data.draw(deliveries(bars)):
        sent = Rows.concat(sent, rows.take(rows.mark == Mark.BAR))
        chosen = st.lists(st.integers(0, max(len(sent) - 1, 0)), max_size=4)
        more = sent.take(np.array(data.draw(chosen) if len(sent) else [], np.intp))
        bad = data.draw(st.lists(st.booleans(), min_size=len(more), max_size=len(more)))
        more = replace(more, fault=np.where(np.array(bad, bool), 3, 0).astype(np.int8))
        buffer, release = advance(buffer, Rows.concat(rows, more), bars.symbols)
        aside = len(release.late) + len(release.duplicate) + len(release.rejected)
        assert release.read == release.accepted + aside
        assert len(release.rejected) == sum(bad)
        accepted += release.accepted
    assert accepted == len(bars)
