"""Results: the views of a ledger, as a user reads them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from streambt_spark import Broker, Cerebro
from streambt_spark.allocation import FixedSize
from streambt_spark.core.ledger.metrics import CONVENTIONS, FIGURES
from streambt_spark.core.ledger.summaries import to_text
from streambt_spark.core.plan import Lane
from streambt_spark.engines.frames import VIEWS
from streambt_spark.engines.ledger import Ledger
from streambt_spark.engines.result import Result
from streambt_spark.engines.summaries import summaries_of
from streambt_spark.errors import BadParameter, ExtraMissing, NoData
from streambt_spark.stores.ledger import write_ledger
from tests.golden.table import DAY, FIRST, planned, run

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


@dataclass(frozen=True, slots=True)
class Labelled(Lane):
    """A lane with the parameters it stands for, and what it records."""

    label: Mapping[str, object] = field(default_factory=dict)
    record: str = "full"


def sweep(*variants: tuple[Mapping[str, object], str]) -> Result:
    """Return a run of lanes that buy 10, 20, 30, … X, with a label and a record policy each."""
    cerebro = Cerebro(Broker(cash=1_000))
    data = cerebro.add_data(RESULT.wide(), tz="UTC")
    rising = cerebro.add_indicator(planned, data["ts"], first=FIRST, wishes=(1.0, 0.0, -1.0))
    for number in range(len(variants)):
        cerebro.add_strat(rising, FixedSize(10 * (number + 1)))
    result = cerebro.run()
    lanes = tuple(
        Labelled(x.name, x.pulse, x.allocation, x.broker, label, record)
        for x, (label, record) in zip(result.plan.lanes, variants, strict=True)
    )
    return replace(result, plan=replace(result.plan, lanes=lanes))


def recorded(result: Result) -> Result:
    """Return a run as lanes leave it that record metrics: one summary event each."""
    summaries = summaries_of(Ledger(result.ledger), result.plan, result.calendar.sessions)
    lanes = [replace(lane, record="metrics") for lane in result.plan.lanes]
    table = pa.table({"lane": list(summaries), "kind": ["summary"] * len(lanes)})
    table = table.append_column("seq", pa.array([0] * len(lanes)))
    texts = pa.array([to_text(summary) for summary in summaries.values()])
    table = table.append_column("text", texts)
    empty = result.ledger.slice(0, 0)
    whole = pa.concat_tables([empty, table], promote_options="default")
    return replace(result, plan=replace(result.plan, lanes=tuple(lanes)), reader=whole)


def test_lanes_have_labels_and_figures_in_columns() -> None:
    """A sweep is one frame: id, each parameter, each figure, as numbers and times."""
    result = sweep(({"fast": 5, "slow": 20}, "full"), ({"fast": 10, "final": 1}, "full"))
    lanes = result.lanes
    assert lanes.columns[:5].tolist() == ["lane", "fast", "slow", "label_final", "periods_per_year"]
    assert lanes["lane"].tolist() == [lane.name for lane in result.plan.lanes]
    assert lanes["fast"].tolist() == [5, 10]
    assert lanes["net_profit"].tolist() == [50.0, 100.0]
    assert {str(dtype) for dtype in lanes.dtypes[4:]} == {"float64", "Int64", "datetime64[us, UTC]"}
    assert lanes["start"].tolist() == [day(1)] * 2


def test_metrics_have_numbers_and_times_only() -> None:
    """No text, no dict and no constant of the whole run among the columns, null where undefined."""
    assert tuple(RESULT.metrics.columns) == FIGURES
    assert not RESULT.metrics.select_dtypes(include="object").columns.tolist()
    assert RESULT.metrics["average_loss"].isna().all()


def test_a_lane_is_given_by_id_or_as_the_plans() -> None:
    """All three ways give the same trades; the first lane is meant where none is given."""
    result = sweep(({}, "full"), ({}, "full"))
    first, second = result.plan.lanes
    for given, quantity in ((None, 10.0), (first.name, 10.0), (second, 20.0), (second.name, 20.0)):
        assert result.trades(given)["quantity"].tolist() == [quantity]
    assert (
        result.figures(second.name)["net_profit"] == result.metrics.loc[second.name, "net_profit"]
    )


def test_an_unknown_lane_is_named() -> None:
    """With the one that was meant, and where ids are found."""
    name = RESULT.plan.lanes[0].name
    with pytest.raises(BadParameter, match=rf"no strategy '{name}x' \(did you mean {name}\?\)"):
        RESULT.trades(f"{name}x")


def test_metrics_of_summaries_are_the_full_ledgers() -> None:
    """Lanes that recorded one summary each have the figures of those that recorded all."""
    full = sweep(({"size": 10}, "full"), ({"size": 20}, "full"))
    pd.testing.assert_frame_equal(recorded(full).lanes, full.lanes)
    for lane in full.plan.lanes:
        assert recorded(full).figures(lane.name) == full.figures(lane)


@pytest.mark.parametrize("view", ["fills", "orders", "equity", "positions"])
def test_a_view_of_what_was_not_recorded_is_empty_with_a_note(view: str) -> None:
    """No error: an empty frame, and a warning that says which strategies and what to do."""
    result = recorded(sweep(({}, "full"), ({}, "full")))
    told = f"{view} of 2 of 2 strategies, such as {result.plan.lanes[0].name}, were not recorded"
    with pytest.warns(UserWarning, match=told) as caught:
        frame = getattr(result, view)
    assert (len(frame), tuple(frame.columns)) == (0, VIEWS[view])
    assert frame.attrs["note"] == f"{told}; add them with record='full'"
    assert caught[0].filename == __file__


def test_notes_name_the_views_together() -> None:
    """One line for those that the same strategies did not record, none where all did."""
    some = sweep(({}, "full"), ({}, "metrics"), ({}, "equity"))
    metrics = some.plan.lanes[1].name
    told = f"such as {metrics}, were not recorded; add them with record='full'"
    assert some.notes == [
        f"fills, equity, positions of 1 of 3 strategies, {told}",
        f"orders of 2 of 3 strategies, {told}",
    ]
    assert RESULT.notes == []


def test_metrics_before_the_summary_are_null() -> None:
    """A live run that was stopped has none of a lane that records metrics at the end."""
    result = recorded(sweep(({}, "full")))
    stopped = replace(result, reader=result.ledger.slice(0, 0))
    assert stopped.metrics.isna().all(axis=None)
    assert set(map(str, stopped.figures().values())) - {"24/7", "XNYS"} == {
        "None", str(CONVENTIONS),
    }  # fmt: skip


def test_an_order_of_several_fills() -> None:
    """Filled 10 at 10 and 30 at 12 of 50, the rest rejected: partly, at 11.5 on average."""
    events = RESULT.ledger.filter(pc.field("kind") == "order").slice(0, 1).to_pylist()
    fill = {**events[0], "kind": "fill", "commission": 100}
    events += [
        {**fill, "seq": 9, "quantity": 10.0, "price": 10.0},
        {**fill, "seq": 10, "quantity": 30.0, "price": 12.0, "ts": day(4)},
        {**events[0], "seq": 11, "kind": "reject", "reason": "insufficient_cash"},
    ]
    result = replace(RESULT, reader=pa.Table.from_pylist(events, RESULT.ledger.schema))
    (order,) = result.orders.to_dict("records")
    expected = {
        "status": "partially_filled", "reason": "insufficient_cash", "filled_ts": day(4),
        "filled_quantity": 40.0, "fill_price": 11.5, "commission": 2.0,
    }  # fmt: skip
    assert {name: order[name] for name in expected} == expected


def test_a_stored_ledger_is_read_when_asked(tmp_path: Path) -> None:
    """From its address: the same digest, views and figures, and nothing before it is asked for."""
    address = str(tmp_path / "ledger")
    result = Result(RESULT.plan, address, RESULT.calendar)
    write_ledger(address, RESULT.ledger)
    pd.testing.assert_frame_equal(result.metrics, RESULT.metrics)
    assert "table" not in vars(result.reader)
    for name in VIEWS:
        pd.testing.assert_frame_equal(getattr(result, name), getattr(RESULT, name))
    assert result.counts == RESULT.counts
    assert "table" not in vars(result.reader)
    assert result.digest == RESULT.digest


def test_a_ledger_may_be_a_call() -> None:
    """It is called when something is asked for, and once."""
    calls = []

    def read() -> pa.Table:
        calls.append(1)
        return RESULT.ledger

    result = Result(RESULT.plan, read, RESULT.calendar)
    assert repr(result) == "<Result of 1 strategies on 1 symbols, 1d, engine unknown>"
    assert calls == []
    assert (result.digest, len(result.fills)) == (RESULT.digest, 2)
    assert calls == [1]


def test_bars_in_rows_and_in_columns() -> None:
    """Long has rows by symbol and time, wide columns by symbol and field; both the run's bars."""
    long, wide = RESULT.long(), RESULT.wide()
    assert long.index.names == ["symbol", "ts"]
    assert long.columns.tolist() == ["open", "high", "low", "close", "volume"]
    assert long.loc[("X", day(3)), "open"] == 20.0
    assert wide[("X", "close")].tolist() == [11.0, 10.0, 20.0, 15.0, 30.0]


def test_bars_with_what_a_lane_traded() -> None:
    """Bought 60 on the second day and sold them on the fourth."""
    lane = RESULT.plan.lanes[0].name
    assert RESULT.long(lane)["traded"].tolist() == [0.0, 60.0, 0.0, -60.0, 0.0]
    assert RESULT.wide(lane)[("X", "position")].tolist() == [0.0, 60.0, 60.0, 0.0, 0.0]


def test_bars_that_were_not_kept() -> None:
    """A live run says that it has none."""
    with pytest.raises(NoData, match="the run kept no bars"):
        replace(RESULT, bars=None).long()


def test_notebook_shows_lanes_ranked_with_labels_and_digest() -> None:
    """The better first, by name of its parameters; the user's texts are no markup."""
    result = sweep(({"size": "<b>"}, "full"), ({"size": 20}, "full"))
    html = result._repr_html_()
    assert html.index("size=20") < html.index("size=&lt;b&gt;")
    assert result.digest in html
    assert "read 5, accepted 5" in html
    assert "<b>&lt;" not in html


def test_notebook_lists_ten_lanes() -> None:
    """Of a sweep the best, and how many more there are."""
    html = sweep(*([({}, "full")] * 12))._repr_html_()
    assert html.count("<tr>") == 1 + 10
    assert "and 2 more: see <code>lanes</code>" in html


def test_a_strategy_that_raises_is_told() -> None:
    """In a frame by lane, in the notebook and in the report."""

    def broken(strength: object, portfolio: object, bars: object) -> dict[str, float]:
        raise ValueError("boom")

    result = run(BARS, [0, 1, 1, 0, 0], broken, cash=1_000)
    (error,) = result.errors.to_dict("records")
    assert (error["lane"], error["ts"]) == (result.plan.lanes[0].name, day(2))
    assert error["reason"] == "allocation_raised"
    assert f"{error['lane']}, disabled at 2024-10-05 00:00:00: " in result._repr_html_()


def test_plot_is_a_figure_of_numbers() -> None:
    """Equity and drawdown over time, in colours that Plotly knows."""
    strategy, drawdown = RESULT.plot().data
    assert strategy.y.tolist() == [1000.0, 999.0, 1599.0, 1298.0, 1298.0]
    assert strategy.x[0] == np.datetime64(FIRST, "D")
    assert drawdown.y.tolist() == pytest.approx([0, -0.001, 0, 1298 / 1599 - 1, 1298 / 1599 - 1])
    assert (strategy.line.color, drawdown.fillcolor) == ("#2456c9", "rgba(194, 51, 58, .16)")


def test_plot_needs_equity() -> None:
    """A lane that recorded none says how to have it."""
    with pytest.raises(NoData, match=r"no equity of \w+ to plot; add it with record='full'"):
        recorded(sweep(({}, "full"))).plot()


def test_plot_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Plotly the error has the command that installs it."""
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ExtraMissing, match=r'pip install "streambt-spark\[report\]"'):
        RESULT.plot()


def test_report_of_a_result(tmp_path: Path) -> None:
    """The tear sheet of a lane, with its label, its digest and its own fills."""
    result = sweep(({"size": 10}, "full"), ({"size": 20}, "full"))
    page = result.report(tmp_path / "r.html", result.plan.lanes[1]).read_text(encoding="utf-8")
    assert result.digest in page
    assert "<dt>size</dt><dd>20</dd>" in page
    assert ">+100.00<" in page
    assert '"symbols":[["X",2]]' in page
