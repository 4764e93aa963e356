"""Bars as pandas frames."""

from __future__ import annotations

import pandas as pd
import pytest

from streambt_spark.errors import BadColumns
from streambt_spark.stores.frames import bars_to_frame, bars_to_long
from streambt_spark.stores.generator import generate
from streambt_spark.stores.intake import intake
from streambt_spark.stores.tables import bars_to_table, table_to_bars

FIELDS = ["open", "high", "low", "close", "volume"]


def test_a_frame_has_a_symbol_over_its_fields_and_utc_times() -> None:
    """Columns are (symbol; field) in order, the index is ascending and UTC."""
    frame = bars_to_frame(generate(["B", "A"], 3))
    assert [tuple(c) for c in frame.columns] == [(s, f) for s in "AB" for f in FIELDS]
    assert frame.columns.names == ["symbol", "field"]
    assert str(frame.index.dtype) == "datetime64[ns, UTC]"
    assert frame.index.is_monotonic_increasing


def test_frames_round_trip_with_gaps() -> None:
    """A frame taken in again gives the same bars; a gap makes no row."""
    bars = generate(["A", "B", "C"], 50, gaps=0.3)
    assert intake(bars_to_frame(bars), interval="1d").bars.digest() == bars.digest()


def test_fields_may_stand_over_symbols() -> None:
    """The two levels of the columns may come in either order."""
    bars = generate(["A", "B"], 5)
    frame = bars_to_frame(bars).swaplevel(axis=1)
    assert intake(frame, interval="1d").bars.digest() == bars.digest()


def test_times_and_symbols_may_be_the_index() -> None:
    """A long frame indexed by time, or by time and symbol, is understood."""
    bars = generate(["A"], 5)
    long = bars_to_table(bars).select(["symbol", "ts", *FIELDS]).to_pandas()
    for frame in (long, long.set_index("ts"), long.set_index(["ts", "symbol"]),
                  long.set_index("ts").rename_axis(None)):  # fmt: skip
        assert intake(frame, interval="1d").bars.digest() == bars.digest()


def test_three_levels_are_refused() -> None:
    """Columns of another depth are named."""
    columns = pd.MultiIndex.from_tuples([("A", "x", "open")])
    with pytest.raises(BadColumns, match="3 levels"):
        intake(pd.DataFrame([[1.0]], columns=columns), interval="1d")


def test_tables_round_trip() -> None:
    """Bars to an Arrow table and back are equal."""
    bars = generate(["B", "A"], 20, gaps=0.2)
    assert table_to_bars(bars_to_table(bars), "1d").digest() == bars.digest()


def test_long_rows_by_symbol_and_time() -> None:
    """Symbol by symbol and ascending, whatever the order of the bars; taken in again, the same."""
    bars = generate(["B", "A"], 20, gaps=0.2)
    long = bars_to_long(bars.take(slice(None, None, -1)))
    assert (long.index.names, long.columns.tolist()) == (["symbol", "ts"], FIELDS)
    assert long.index.is_monotonic_increasing
    assert intake(long, interval="1d").bars.digest() == bars.digest()
