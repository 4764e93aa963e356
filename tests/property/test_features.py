"""Features: any split gives the same bits, later bars change none, equal nodes run once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streambt_spark.core.indicators.evaluation import compute
from streambt_spark.core.indicators.features import decode_features, encode_features, open_features
from streambt_spark.core.indicators.graph import DATA, Compiled, Graph, Ref, compile_graph
from streambt_spark.core.indicators.library import declare, indicator, resolve
from streambt_spark.core.indicators.program import compile_program
from streambt_spark.core.indicators.windows import anchor
from streambt_spark.core.market.bars import Bars
from streambt_spark.core.market.panel import Panel
from streambt_spark.core.market.rows import RowKind, Rows, one_row, rows_of_bars
from streambt_spark.core.market.slices import align, open_buffer
from tests.property.streams import bars_of

LENGTH = 1_300


@indicator(cross_sectional=True, warmup=5)
def spread(close: np.ndarray) -> Any:
    """Return each symbol's distance to the mean of its slice."""
    return close - np.nanmean(close, axis=1, keepdims=True)


@indicator(warmup=20)
def slow_mean(close: np.ndarray) -> np.ndarray:
    """Return a mean over 20 bars, added up one after the other."""
    out = np.full(len(close), np.nan)
    if len(close) >= 20:
        out[19:] = sum(close[i : len(close) - 19 + i] for i in range(20)) / 20
    return out


@indicator(accumulated=True)
def top(carry: np.ndarray | None, close: np.ndarray) -> Any:
    """Return the highest so far."""
    start = -np.inf if carry is None else carry[0]
    found = np.fmax.accumulate(np.append(start, close))[1:]
    return found[-1:], found


def above(close: np.ndarray, level: np.ndarray) -> Any:
    """Return 1 above a level, -1 below."""
    return np.sign(close - level)


def graph(*, across: bool = True) -> Compiled:
    """Return nodes of every family, nested."""
    g = Graph()
    rsi = g.add(resolve("RSI", {"timeperiod": 5}), [DATA["close"]])
    g.add(resolve("MACD", {}), [DATA["close"]])
    g.add(resolve("OBV", {}), [DATA["close"], DATA["volume"]])
    g.add(resolve(slow_mean, {}), [rsi])
    peak = g.add(resolve(top, {}), [DATA["high"]])
    g.add(declare(above, {}), [rsi, g.add(resolve("SMA", {"timeperiod": 9}), [rsi])])
    g.add(resolve("ROC", {"timeperiod": 2}), [g.add(declare(above, {}), [DATA["close"], peak])])
    if across:
        wide = g.add(resolve(spread, {}), [DATA["close"]])
        g.add(resolve("SMA", {"timeperiod": 3}), [wide])
        g.add(declare(above, {}), [wide, DATA["close"]])
    g.add(resolve("EMA", {"timeperiod": 10}), [DATA["ts"]])
    return compile_graph(g)


PROGRAM = compile_program(graph().nodes)
NODES = PROGRAM.nodes


def whole_panel(slices: int, gaps: int, seed: int) -> Panel:
    """Return all slices in one panel."""
    present = np.random.default_rng(seed).integers(0, 100, (slices, 3)) >= gaps
    bars = bars_of(present, seed)
    rows = Rows.concat(rows_of_bars(bars), one_row(RowKind.END, 0))
    return align(open_buffer(3), rows, bars.symbols)[1].panel


def part(panel: Panel, rows: slice) -> Panel:
    """Return some of a panel's slices."""
    names = ("ts", "present", "open", "high", "low", "close", "volume")
    return Panel(panel.symbols, *(getattr(panel, n)[rows].copy() for n in names))


def values_of(panel: Panel, cuts: list[int]) -> dict[Ref, np.ndarray]:
    """Return all values of the nodes, evaluated in portions that end at the cuts."""
    edges = [0, *sorted(min(cut, len(panel.ts)) for cut in cuts), len(panel.ts)]
    features, pieces = open_features(PROGRAM, 3), []
    for start, stop in pairwise(edges):
        features = decode_features(encode_features(features), PROGRAM)
        features, values = compute(PROGRAM, features, part(panel, slice(start, stop)))
        pieces.append(values)
    return {ref: np.concatenate([p[ref] for p in pieces], axis=1) for ref in pieces[0]}


many_cuts = st.lists(st.integers(0, LENGTH), max_size=6)


@settings(max_examples=40)
@given(st.sampled_from((0, 0, 30)), st.integers(0, 2**31), many_cuts)
def test_any_split_gives_the_same_bits(gaps: int, seed: int, cuts: list[int]) -> None:
    """Over two anchors, with gaps and without, of every family of functions."""
    panel = whole_panel(LENGTH, gaps, seed)
    whole, split = values_of(panel, []), values_of(panel, cuts)
    for ref, values in whole.items():
        assert values.tobytes() == split[ref].tobytes(), ref


@settings(max_examples=40)
@given(st.integers(1, LENGTH - 1), st.integers(0, 2**31), many_cuts)
def test_later_bars_change_no_bit(cut: int, seed: int, cuts: list[int]) -> None:
    """Values up to a slice are those without the slices after it."""
    panel = whole_panel(LENGTH, 10, seed)
    whole, before = values_of(panel, []), values_of(part(panel, slice(0, cut)), cuts)
    for ref, values in before.items():
        assert np.ascontiguousarray(whole[ref][:, :cut]).tobytes() == values.tobytes(), ref


def late_rows(panel: Panel, first: int, last: int, own: list[int]) -> Rows:
    """Return the bars of each symbol in its last slices before `last` as late ones."""
    parts = [Rows.none()]
    for s, count in enumerate(own):
        at = np.arange(max(first, last - count), last)
        at = at[panel.present[at, s]]
        names = ("open", "high", "low", "close", "volume")
        columns = (getattr(panel, name)[at, s] for name in names)
        parts.append(rows_of_bars(Bars("1d", panel.symbols, 0 * at.astype(np.int32) + s,
                                       panel.ts[at], *columns)))  # fmt: skip
    return Rows.concat(*parts)


def without(panel: Panel, first: int, last: int, own: list[int]) -> Panel:
    """Return slices without the bars of each symbol in its last ones."""
    shown = part(panel, slice(first, last))
    for s, count in enumerate(own):
        gone = slice(max(first, last - count) - first, last - first)
        shown.present[gone, s] = False
        for name in ("open", "high", "low", "close", "volume"):
            getattr(shown, name)[gone, s] = np.nan
    return shown


APART = compile_program(graph(across=False).nodes)


@settings(max_examples=40)
@given(
    st.sampled_from((0, 30)),
    st.integers(0, 2**31),
    st.lists(st.integers(1, LENGTH - 1), min_size=1, max_size=4, unique=True),
    st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=5, max_size=5),
)
def test_a_late_bar_is_part_of_its_symbols_history(
    gaps: int, seed: int, cuts: list[int], own: list[list[int]]
) -> None:
    """In a slice, or late but before the symbol's next bar: the values after it are equal."""
    panel = whole_panel(LENGTH, gaps, seed)
    features, whole = compute(APART, open_features(APART, 3), panel)
    edges = [0, *sorted(cuts), LENGTH]
    features, late = open_features(APART, 3), None
    for (first, last), counts in zip(pairwise(edges), own, strict=False):
        counts = counts if last < LENGTH else [0, 0, 0]
        shown = without(panel, first, last, counts)
        features, values = compute(APART, features, shown, late)
        for ref, found in values.items():
            there = shown.present.T
            assert found[there].tobytes() == whole[ref][:, first:last][there].tobytes(), ref
            assert np.isnan(found[~there]).all()
        late = late_rows(panel, first, last, counts)
    assert features.count.tolist() == panel.present.sum(axis=0).tolist()


def test_the_value_is_the_functions_over_the_bars_since_the_anchor() -> None:
    """The rule itself, bar by bar, for a symbol with gaps: each value by a call of its own."""
    panel = whole_panel(LENGTH, 20, 7)
    values = values_of(panel, [400, 401, 900])
    (node,) = (n for n in NODES if n.function.name == "RSI")
    for s in range(3):
        at = np.flatnonzero(panel.present[:, s])
        close = np.ascontiguousarray(panel.close[at, s])
        for n in range(0, len(at), 7):
            window = close[anchor(n, node.function.span, node.function.warmup) : n + 1]
            (expected,) = node.function.evaluate([window])
            found = values[Ref(node.identity, node.function.outputs[0])][s, at[n]]
            assert np.array_equal(expected[-1], found, equal_nan=True)
    assert np.isnan(values[Ref(node.identity, node.function.outputs[0])][~panel.present.T]).all()


def test_state_is_bounded_by_the_anchor() -> None:
    """After any number of slices, no more than span + warm-up values are kept of a symbol."""
    panel = whole_panel(3 * LENGTH, 0, 1)
    features = open_features(PROGRAM, 3)
    readers = {
        ref: [n.function for n in NODES if ref in n.inputs] for n in NODES for ref in n.inputs
    }
    most = 3 * sum(max(f.span + f.warmup for f in functions) for functions in readers.values())
    for start in range(0, 3 * LENGTH, 100):
        features, _ = compute(PROGRAM, features, part(panel, slice(start, start + 100)))
        assert len(features.past) <= most
        assert sum(map(np.size, (features.totals, *features.carries, *features.witness))) < 300
        assert all(len(kept) <= 512 + 5 for kept in features.panels)
