"""Indicators under any split of any bars."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from talib import _ta_lib as ta

from streambt_spark.core.indicators.library import resolve
from streambt_spark.core.indicators.talib import ACCUMULATED, NAMES

number = st.one_of(st.floats(0.01, 1e6), st.sampled_from([0.0, 1.0, 2.0, np.nan]))
bar = st.tuples(number, number, number, number)


@given(st.sampled_from(ACCUMULATED), st.lists(bar, max_size=40), st.lists(st.integers(0, 40)))
def test_a_running_total_is_the_same_to_the_bit_however_it_is_split(name, bars, cuts):
    """Pieces of any size give the values of the whole, and those are TA-Lib's."""
    function = resolve(name, {})
    table = np.array(bars, dtype=np.float64).reshape(-1, 4)
    columns = [np.ascontiguousarray(table[:, i]) for i in range(len(function.inputs))]
    edges = sorted({0, len(bars), *(cut for cut in cuts if cut < len(bars))})
    carry, pieces = None, [np.empty(0)]
    for start, end in pairwise(edges):
        carry, (piece,) = function.accumulate(carry, [c[start:end] for c in columns])
        pieces.append(piece)
    whole = function.evaluate(columns)[0]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()
    if not np.isnan(table[:, : len(columns)]).any(axis=1).all():
        assert np.array_equal(whole, getattr(ta, name)(*columns), equal_nan=True)


@given(
    st.sampled_from(sorted(NAMES - set(ACCUMULATED))),
    st.lists(bar, min_size=1, max_size=120),
    st.integers(1, 120),
)
def test_later_bars_change_no_bit(name, bars, cut):
    """A value over a prefix is the value over the whole, NaN and odd numbers included."""
    function = resolve(name, {})
    table = np.array(bars, dtype=np.float64)
    columns = [np.ascontiguousarray(table[:, i]) for i in range(len(function.inputs))]
    whole = function.evaluate(columns)
    prefix = function.evaluate([column[:cut] for column in columns])
    for full, part in zip(whole, prefix, strict=True):
        assert np.array_equal(full[:cut], part, equal_nan=True)
