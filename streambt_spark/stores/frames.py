"""Bars as pandas frames, the form that users hand in and get back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from streambt_spark.core.market.bars import FIELDS, Bars
from streambt_spark.errors import BadColumns
from streambt_spark.stores.columns import ALIASES, normal

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIELD_NAMES = frozenset(alias for name in FIELDS for alias in ALIASES[name])


def bars_to_frame(bars: Bars) -> pd.DataFrame:
    """Return bars with MultiIndex columns (symbol; open high low close volume) by UTC time.

    A symbol without a bar at a time has NaN there.
    """
    return widen(bars_to_long(bars))


def bars_to_long(bars: Bars) -> pd.DataFrame:
    """Return bars with the columns open, high, low, close, volume by (symbol, UTC time)."""
    bars = bars.take(np.lexsort((bars.ts, bars.code)))
    index = pd.MultiIndex.from_arrays(
        [
            np.array(bars.symbols, dtype=object)[bars.code],
            pd.to_datetime(bars.ts, unit="us", utc=True),
        ],
        names=["symbol", "ts"],
    )
    return pd.DataFrame({name: getattr(bars, name) for name in FIELDS}, index=index)


def widen(long: pd.DataFrame) -> pd.DataFrame:
    """Return rows by (symbol, time) as rows by time, with MultiIndex columns (symbol; field)."""
    wide = pd.DataFrame(long.unstack("symbol"))
    present = wide.columns.get_level_values("symbol").unique()
    order = [(symbol, field) for symbol in present for field in long.columns]
    wide = wide.reorder_levels([1, 0], axis=1).reindex(columns=order)
    return wide.rename_axis(columns=["symbol", "field"])


def frame_to_table(frame: pd.DataFrame) -> pa.Table:
    """Return a frame's rows as an Arrow table, still unchecked.

    Either one row for each bar, the time and symbol as columns or index, or one row for each time
    with MultiIndex columns of symbol and field in either order. Raises BadColumns for neither.
    """
    if isinstance(frame.columns, pd.MultiIndex):
        frame = _long(frame)
    elif isinstance(frame.index, pd.MultiIndex | pd.DatetimeIndex) or frame.index.name is not None:
        index = frame.index
        if not isinstance(index, pd.MultiIndex) and index.name is None:
            frame = frame.rename_axis("ts")
        frame = frame.reset_index()
    return pa.table({str(name): _column(frame[name].tolist, frame[name]) for name in frame.columns})


def records_to_table(records: Sequence[Any], first: int = 1) -> pa.Table:
    """Return dicts as an Arrow table over the union of their keys, still unchecked.

    Raises BadColumns where an item is no mapping; `first` is the number of the first item.
    """
    for number, record in enumerate(records, first):
        if not isinstance(record, Mapping):
            kind = type(record).__name__
            raise BadColumns(f"item {number} of the list is of type {kind}; expected a dict a bar")
    names = dict.fromkeys(str(name) for record in records for name in record)
    return pa.table({n: _values([record.get(n) for record in records]) for n in names})


def _long(frame: pd.DataFrame) -> pd.DataFrame:
    if frame.columns.nlevels != 2:
        levels = frame.columns.nlevels
        raise BadColumns(f"the frame's columns have {levels} levels; expected (symbol; field)")
    inner = [normal(name) in _FIELD_NAMES for name in frame.columns.get_level_values(1)]
    outer = [normal(name) in _FIELD_NAMES for name in frame.columns.get_level_values(0)]
    level = 0 if sum(inner) >= sum(outer) else 1
    parts = []
    for symbol in frame.columns.get_level_values(level).unique():
        part = pd.DataFrame(frame.xs(symbol, axis=1, level=level)).dropna(how="all")
        part.insert(0, "symbol", str(symbol))
        part.insert(0, "ts", part.index)
        parts.append(part)
    if not parts:
        raise BadColumns("the frame has no columns; expected (symbol; field)")
    return pd.concat(parts, ignore_index=True)


def _column(values: Any, series: pd.Series[Any]) -> pa.Array:
    if series.dtype == object:
        return _values(values())
    array = pa.Array.from_pandas(series)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _values(values: list[Any]) -> pa.Array:
    values = [_plain(value) for value in values]
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if v is None else str(v) for v in values], pa.string())


def _plain(value: Any) -> Any:
    if value is None or value is pd.NaT:
        return None
    # A column may mix times with and without zone: as texts, each keeps its own.
    return value.isoformat() if isinstance(value, dt.datetime) else value
