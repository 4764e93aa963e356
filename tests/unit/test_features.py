"""Features: which rows a function sees, and where its values land."""

from __future__ import annotations

from typing import Any

import numpy as np

from streambt_spark.core.indicators.evaluation import compute
from streambt_spark.core.indicators.features import Features, open_features
from streambt_spark.core.indicators.graph import DATA, Graph, Handle, Input, Ref, compile_graph
from streambt_spark.core.indicators.library import indicator, resolve
from streambt_spark.core.indicators.program import compile_program
from tests.property.accounts import DAY, panel_of

NAN = np.nan
PRESENT = np.array([[True, True], [False, True], [True, True], [True, False]])
PANEL = panel_of(PRESENT, np.arange(1, 9)[:, None].repeat(4, 1).reshape(4, 2, 4), np.full(2, 100))
# close: A 1 . 5 7, B 2 4 6 .


def computed(graph: Graph) -> tuple[Features, dict[Ref, np.ndarray]]:
    """Return the features and all values after the panel."""
    program = compile_program(compile_graph(graph).nodes)
    return compute(program, open_features(program, 2), PANEL)


def values(func: object, *inputs: Input, **params: object) -> np.ndarray:
    """Return the values of one function over the panel, float64[symbol, slice]."""
    graph = Graph()
    handle: Handle = graph.add(resolve(func, params), inputs or [DATA["close"]])  # type: ignore[arg-type]
    return computed(graph)[1][graph.ref(handle)]


def step_by(close: np.ndarray) -> Any:
    """Return the change from row to row."""
    return np.diff(close, prepend=np.nan)


@indicator(cross_sectional=True)
def share(close: np.ndarray) -> Any:
    """Return each symbol's part of its slice's sum."""
    return close / np.nansum(close, axis=1, keepdims=True)


def test_a_symbol_is_seen_bar_by_bar() -> None:
    """A gap is no row: A's change at the third slice is from its bar of the first."""
    expected = [[NAN, NAN, 4.0, 2.0], [NAN, 2.0, 2.0, NAN]]
    assert np.array_equal(values(step_by), expected, equal_nan=True)


def test_a_panel_is_seen_slice_by_slice() -> None:
    """A gap is NaN, and stays so."""
    expected = [[1 / 3, NAN, 5 / 11, 1.0], [2 / 3, 1.0, 6 / 11, NAN]]
    assert np.array_equal(values(share), expected, equal_nan=True)


def test_time_can_be_read() -> None:
    """The start of each bar in microseconds."""
    expected = [[NAN, NAN, 2.0 * DAY, DAY], [NAN, DAY, DAY, NAN]]
    assert np.array_equal(values(step_by, DATA["ts"]), expected, equal_nan=True)


def test_a_pulse_may_read_what_another_function_made() -> None:
    """Across symbols, then per symbol again: the change of the share from bar to bar."""
    graph = Graph()
    part = graph.add(resolve(share, {}), [DATA["close"]])
    moved = graph.add(resolve(step_by, {}), [part])
    _, found = computed(graph)
    expected = [[NAN, NAN, 5 / 11 - 1 / 3, 1 - 5 / 11], [NAN, 1 - 2 / 3, 6 / 11 - 1.0, NAN]]
    assert np.array_equal(found[graph.ref(moved)], expected, equal_nan=True)


def test_bars_and_slices_are_counted() -> None:
    """Each symbol's bars, and the slices, from which the anchors follow."""
    features, found = computed(Graph())
    assert (features.count.tolist(), features.slices, found) == ([3, 3], 4, {})


def test_only_what_is_read_is_kept() -> None:
    """A running total needs no history, an average that of its column."""
    graph = Graph()
    graph.add(resolve("OBV", {}), [DATA["close"], DATA["volume"]])
    graph.add(resolve("SMA", {"timeperiod": 2}), [DATA["open"]])
    features, _ = computed(graph)
    assert len(features.past) == 6  # the open of three bars of two symbols
    assert features.panels == ()
    assert features.totals.shape == (1, 2, 4)
