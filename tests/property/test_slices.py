"""Slices and whole blocks under any arrival of the rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streambt_spark.core.market.bars import FIELDS, Bars
from streambt_spark.core.market.faults import CODES, Reason
from streambt_spark.core.market.rows import LAST, NULL, RowKind, Rows, one_row
from streambt_spark.core.market.slices import Buffer, Release, align, has_ended, open_buffer
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
        buffer, release = align(buffer, rows, bars.symbols)
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
        sent = Rows.concat(sent, rows.take(rows.kind == RowKind.BAR))
        chosen = st.lists(st.integers(0, max(len(sent) - 1, 0)), max_size=4)
        more = sent.take(np.array(data.draw(chosen) if len(sent) else [], np.intp))
        bad = data.draw(st.lists(st.booleans(), min_size=len(more), max_size=len(more)))
        more = replace(more, fault=np.where(np.array(bad, bool), 3, 0).astype(np.int8))
        buffer, release = align(buffer, Rows.concat(rows, more), bars.symbols)
        aside = len(release.late) + len(release.duplicate) + len(release.rejected)
        assert release.read == release.accepted + aside
        assert len(release.rejected) == sum(bad)
        accepted += release.accepted
    assert accepted == len(bars)


SYMBOLS = ("A", "B", "C")
Cell = tuple[int, int, int, float]
"""A row in short: symbol, time, number, price."""


@st.composite
def streams(draw: st.DrawFn) -> Rows:
    """Draw rows in the order of a stream, all numbered, none or some, with all that can go wrong.

    Bars of few keys and prices come out of order, again, too late and from far ahead; some are
    faulty, marks promise what is not true, numbers are shared.
    """
    numbered, number, parts = draw(st.sampled_from([(True,), (False,), (True, False)])), 0, []
    for _ in range(draw(st.integers(1, 24))):
        number += draw(st.integers(0, 1))
        kind = draw(st.sampled_from([RowKind.BAR] * 12 + [RowKind.HEARTBEAT] * 3 + [RowKind.END]))
        code = draw(st.integers(0 if kind == RowKind.BAR else -1, 2))
        ts = draw(st.sampled_from([1, 2, 3, 4, 5, 6, 7, 1000]))
        price = draw(st.sampled_from([1.0, 2.0]))
        fields = dict.fromkeys(FIELDS, price) if kind == RowKind.BAR else {}
        row = one_row(
            kind, ts, code=code, seq=number if draw(st.sampled_from(numbered)) else NULL, **fields
        )
        fault = draw(st.sampled_from([0, 0, 0, 0, 0, 0, 0, CODES[Reason.OFF_GRID]]))
        parts.append(replace(row, fault=np.full(1, fault, np.int8)))
    rows = Rows.concat(*parts)
    close = rows.column("close")
    return rows.take(
        np.lexsort((rows.seq, close, rows.code, rows.kind > 0, rows.until(), rows.places()))
    )


def rank(cell: Cell) -> tuple[int, float]:
    """Return what decides between bars of one key: the number, none being highest, then price."""
    return (LAST if cell[2] == NULL else cell[2], cell[3])


class Reference:
    """The rule itself, one row after the other."""

    def __init__(self, horizon_us: int | None) -> None:
        self.horizon_us = horizon_us
        self.seen, self.shown, self.released = [NULL] * 3, [NULL] * 3, NULL
        self.pending: dict[tuple[int, int], Cell] = {}
        self.slices: list[Cell] = []
        self.late: list[Cell] = []
        self.history: list[Cell] = []
        self.again: list[tuple[Cell, bool]] = []
        self.beyond: list[Cell] = []
        self.faulty = 0

    def take(self, kind: int, cell: Cell, *, sound: bool) -> None:
        """Take in one row."""
        code, ts = cell[:2]
        if not sound:
            self.faulty += 1
        elif self.is_beyond(kind, ts):
            self.beyond.append(cell)
        elif kind == RowKind.BAR:
            self.take_bar(cell)
            self.see([code], ts)
            self.shown[code] = max(self.shown[code], ts)
        else:
            self.see(range(3) if code < 0 else [code], LAST if kind == RowKind.END else ts)

    def is_beyond(self, kind: int, ts: int) -> bool:
        """Return whether nobody can know of a time yet."""
        known = self.horizon_us is not None and self.released != NULL and kind != RowKind.END
        return known and ts > self.released + (self.horizon_us or 0)

    def take_bar(self, cell: Cell) -> None:
        """Take in a sound bar."""
        code, ts, _, _ = cell
        other = self.pending.get((ts, code))
        if ts <= self.released:
            self.late.append(cell)
            self.history += [cell] * (ts > self.shown[code])
        elif other is None:
            self.pending[ts, code] = cell
        else:
            first, second = sorted((other, cell), key=rank)
            self.pending[ts, code] = first
            self.again.append((second, first[3] != second[3]))

    def see(self, codes: range | list[int], ts: int) -> None:
        """Note how far symbols have shown, and release what is complete."""
        for code in codes:
            self.seen[code] = max(self.seen[code], ts)
        for key in sorted(key for key in self.pending if key[0] <= min(self.seen)):
            self.released = key[0]
            self.slices.append(self.pending.pop(key))


def shorts(rows: Rows) -> list[Cell]:
    """Return rows in short; a mark has the price 0."""
    price = np.nan_to_num(rows.column("close"))
    columns = (rows.code, rows.ts, rows.seq, price)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def fates(releases: list[Release], buffer: Buffer) -> dict[str, object]:
    """Return what calls did in all, and what they left."""
    found: dict[str, object] = {
        "late": sorted(cell for r in releases for cell in shorts(r.late)),
        "history": sorted(cell for r in releases for cell in shorts(r.history)),
        "again": sorted(
            pair
            for r in releases
            for pair in zip(shorts(r.duplicate), r.conflicting.tolist(), strict=True)
        ),
        "rejected": sorted(cell for r in releases for cell in shorts(r.rejected)),
        "slices": [
            (code, int(ts), float(panel.close[at, code]))
            for panel in (r.panel for r in releases)
            for at, ts in enumerate(panel.ts)
            for code in np.flatnonzero(panel.present[at]).tolist()
        ],
        "counts": [sum(r.read for r in releases), sum(r.accepted for r in releases)],
        "left": [buffer.seen.tolist(), buffer.shown.tolist(), buffer.released],
        "pending": shorts(buffer.pending),
    }
    return found


@given(st.data(), streams(), st.sampled_from([None, None, 1, 3]))
def test_no_cut_changes_the_fate_of_a_row(
    data: st.DataObject, rows: Rows, horizon: int | None
) -> None:
    """Cut anywhere and shuffled inside the calls, rows meet what they meet one by one."""
    reference = Reference(horizon)
    for kind, cell, fault in zip(rows.kind.tolist(), shorts(rows), rows.fault, strict=True):
        reference.take(kind, cell, sound=not fault)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    buffer, releases = open_buffer(3), []
    for start, stop in pairwise([0, *cuts, len(rows)]):
        order = data.draw(st.permutations(range(start, stop)))
        call = rows.take(np.array(order, np.intp))
        buffer, release = align(buffer, call, SYMBOLS, horizon_us=horizon)
        assert release.read == release.accepted + len(release.late) + len(release.duplicate) + len(
            release.rejected
        )
        releases.append(release)
    found = fates(releases, buffer)
    assert found["slices"] == [(code, ts, price) for code, ts, _, price in reference.slices]
    assert found["late"] == sorted(reference.late)
    assert found["history"] == sorted(reference.history)
    assert found["again"] == sorted(reference.again)
    faulty = rows.take(rows.fault != 0)
    assert found["rejected"] == sorted([*shorts(faulty), *reference.beyond])
    assert found["left"] == [reference.seen, reference.shown, reference.released]
    waiting = sorted(reference.pending.values(), key=lambda cell: (cell[1], cell[0]))
    assert found["pending"] == waiting


@given(st.data(), streams())
def test_the_lowest_number_stays_whatever_the_calls(data: st.DataObject, rows: Rows) -> None:
    """While nothing is released, calls may even go back: of each key the same bar stays."""
    bars = rows.take((rows.kind == RowKind.BAR) & (rows.fault == 0) & (rows.code < 2))
    order = np.array(data.draw(st.permutations(range(len(bars)))), np.intp)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(bars)), max_size=5)))
    buffer, accepted, again = open_buffer(3), 0, 0
    for start, stop in pairwise([0, *cuts, len(bars)]):
        buffer, release = align(buffer, bars.take(order[start:stop]), SYMBOLS)
        accepted, again = accepted + release.accepted, again + len(release.duplicate)
    best: dict[tuple[int, int], Cell] = {}
    for cell in sorted(shorts(bars), key=rank):
        best.setdefault((cell[1], cell[0]), cell)
    assert shorts(buffer.pending) == [best[key] for key in sorted(best)]
    assert (accepted, again) == (len(best), len(bars) - len(best))
