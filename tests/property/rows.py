"""Hypothesis strategies for rows of every kind, with all that their columns can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from streambt_spark.core.market.bars import DAY_US
from streambt_spark.core.market.faults import EARLIEST_US, LATEST_US
from streambt_spark.core.market.rows import (
    COLUMNS,
    HEADER,
    KINDS,
    NULL,
    Column,
    Form,
    RowKind,
    Rows,
    one_row,
)

SYMBOLS = ("A", "@BTCUSD", "O240119C00050000")
LONGS = st.integers(-(2**63) + 1, 2**63 - 1)
TIMES = st.integers(EARLIEST_US, LATEST_US)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=12)


def equal(a: Rows, b: Rows) -> bool:
    """Return whether rows are the same to the bit, and their columns of the same types."""
    if len(a) != len(b):
        return False
    for name in HEADER:
        one, two = getattr(a, name), getattr(b, name)
        if one.dtype != two.dtype or one.tobytes() != two.tobytes():
            return False
    for name in {**a.payload, **b.payload}:
        one, two = a.column(name), b.column(name)
        same = one.tolist() == two.tolist() if one.dtype == object else _bits(one) == _bits(two)
        if one.dtype != two.dtype or not same:
            return False
    return True


def _bits(values: np.ndarray[Any, Any]) -> bytes:
    return values.tobytes()


def cells(column: Column) -> st.SearchStrategy[Any]:
    """Return what a column can hold."""
    if column.form is Form.WORD:
        return st.sampled_from(column.words)
    return {Form.NUMBER: NUMBERS, Form.TIME: TIMES, Form.TEXT: TEXTS}[column.form]


@st.composite
def sound_rows(draw: st.DrawFn) -> Rows:
    """Draw rows of any kind that may be used, each with what it needs and perhaps the rest."""
    parts = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(RowKind))
        spec = KINDS[kind]
        bar = kind == RowKind.BAR
        ts = draw(st.integers(-100, 100)) * DAY_US if bar else draw(TIMES)
        fields: dict[str, Any] = {}
        if bar:
            low, high = sorted(draw(st.tuples(*[st.floats(1e-300, 1e300)] * 2)))
            inside = st.floats(low, high)
            fields = {"open": draw(inside), "high": high, "low": low, "close": draw(inside)}
            fields["volume"] = draw(st.floats(0, 1e300))
        else:
            for name in spec.columns:
                if name in spec.needs or draw(st.booleans()):
                    fields[name] = draw(cells(COLUMNS[name]))
        code = draw(st.integers(0 if "symbol" in spec.needs else -1, len(SYMBOLS) - 1))
        later = draw(st.none() | st.integers(1, 10**15))
        known_at = NULL if later is None else ts + later
        if bar:
            known_at = ts + DAY_US + (later or 0)
        seq = draw(st.just(NULL) | LONGS)
        parts.append(one_row(kind, ts, code=code, seq=seq, known_at=known_at, **fields))
    return Rows.concat(*parts)
