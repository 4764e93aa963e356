"""Results: the views of a ledger, as a user reads them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from streambt_spark.allocation import FixedSize
from streambt_spark.engines.frames import VIEWS
from streambt_spark.engines.result import Result
from tests.golden.table import DAY, FIRST, run

BARS = {
    "X": [(10, 12, 10, 11), (10, 10, 10, 10), (20, 20, 20, 20), (15, 15, 15, 15), (30, 30, 30, 30)]
}
RESULT = run(BARS, [1, 0, -1, 1, 1], FixedSize(60), cash=1_000, commission=1)
# Bought 60 at 10, sold at 15; then 60 at 30 are too dear, and a last order stays open.


def day(number: int) -> pd.Timestamp:
    """Return the time of a day of the table."""
    return pd.Timestamp((FIRST + number - 1) * DAY, unit="us", tz="UTC")


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_has_its_columns(name: str) -> None:
    """In their order, with times in UTC."""
    frame = getattr(RESULT, name)
    assert tuple(frame.columns) == VIEWS[name]
    assert str(frame["ts"].dt.tz) == "UTC"


def test_fills_are_in_currency_units() -> None:
    """Amounts are what changed the cash; the commission is part of them."""
    assert RESULT.fills.drop(columns=["lane", "order_id"]).to_numpy().tolist() == [
        [day(2), "X", "buy", 60.0, 10.0, 1.0, -601.0, 399.0, 60.0],
        [day(4), "X", "sell", 60.0, 15.0, 1.0, 899.0, 1298.0, 0.0],
    ]
    assert RESULT.positions["quantity"].tolist() == [60.0, 0.0]


def test_orders_tell_what_became_of_them() -> None:
    """Filled at a time and price, rejected for a reason, or still open."""
    orders = RESULT.orders.replace({np.nan: None})
    assert orders[["ts", "side", "status", "reason"]].to_numpy().tolist() == [
        [day(1), "buy", "filled", None],
        [day(3), "sell", "filled", None],
        [day(4), "buy", "rejected", "insufficient_cash"],
        [day(5), "buy", "open", None],
    ]
    assert RESULT.orders["filled_ts"].tolist()[:2] == [day(2), day(4)]
    assert RESULT.orders["fill_price"].tolist()[:2] == [10.0, 15.0]
    assert RESULT.orders["filled_ts"].isna().tolist() == [False, False, True, True]
    assert RESULT.orders["commission"].tolist()[:2] == [1.0, 1.0]


def test_drawdown_counts_from_the_start_cash() -> None:
    """999 after the first fill is below the 1,000 that were there; 1,599 is a peak."""
    equity = RESULT.equity
    assert equity["equity"].tolist() == [1000.0, 999.0, 1599.0, 1298.0, 1298.0]
    assert equity["exposure"].tolist() == [0.0, 600.0, 1200.0, 0.0, 0.0]
    expected = [0.0, -0.001, 0.0, 1298 / 1599 - 1, 1298 / 1599 - 1]
    assert equity["drawdown"].tolist() == pytest.approx(expected, abs=1e-15)


def test_metrics_and_trades_of_a_lane() -> None:
    """One round trip that brought 298."""
    (lane,) = RESULT.plan.lanes
    assert RESULT.metrics.index.tolist() == [lane.name]
    assert RESULT.metrics.loc[lane.name, "net_profit"] == 298.0
    assert RESULT.trades(lane)["pnl"].tolist() == [298.0]


def test_the_order_of_rows_does_not_matter() -> None:
    """A ledger read back from files comes in any order: digest and views are the same."""
    shuffled = RESULT.ledger.take(np.random.default_rng(1).permutation(RESULT.ledger.num_rows))
    again = Result(RESULT.plan, shuffled, RESULT.calendar)
    assert again.digest == RESULT.digest
    for name in VIEWS:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(RESULT, name))
    assert again.counts == RESULT.counts == {
        "read": 5, "accepted": 5, "duplicate": 0, "late": 0, "rejected": 0, "revised": 0,
    }  # fmt: skip


def test_a_run_without_a_trade_has_all_views() -> None:
    """Empty where there is nothing, and no number where none is defined."""
    idle = run(BARS, [0] * 5, FixedSize(1), cash=1_000)
    assert [len(getattr(idle, name)) for name in VIEWS] == [0, 0, 5, 0, 0]
    (lane,) = idle.plan.lanes
    assert len(idle.trades(lane)) == 0
    assert idle.figures(lane)["win_rate"] is None


def test_spark_frames_need_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, not an AttributeError of None."""
    monkeypatch.setattr("pyspark.sql.SparkSession.getActiveSession", lambda: None)
    with pytest.raises(RuntimeError, match="no active SparkSession"):
        RESULT.spark_frames()
