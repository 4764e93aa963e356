"""What a run reports, to a file and to a terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from pyspark.sql.streaming.listener import (
    QueryProgressEvent,
    QueryStartedEvent,
    StreamingQueryProgress,
)
from rich.console import Console

from streambt_spark.cli.progress import ProgressBar, default_sinks, describe
from streambt_spark.core.market.bars import Bars
from streambt_spark.errors import OutputError
from streambt_spark.spark.listener import (
    METRICS,
    Course,
    Listener,
    MetricsFile,
    Notice,
    Progress,
    Reporter,
    following,
    progress_of,
)
from streambt_spark.spark.source import replay_rows
from streambt_spark.stores.lake import bars_to_batches, write_snapshot
from streambt_spark.streams.pace import Pace, Timeline
from streambt_spark.streams.replay import Replay

MINUTE = 60_000_000
REPORT = Progress(
    batch=3, rows=1200, rows_per_second=5000.4, seconds=0.24,
    event_time="2024-03-01T14:30:00Z", slices=5, slices_total=10, lag_seconds=1.5,
    orders=2, fills=1, equity=1000123.45,
)  # fmt: skip


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.reports: list[Progress] = []
        self.closed = False
        self.notices: list[Notice] = []

    def notice(self, notice: Notice) -> None:
        """Keep the notice."""
        self.notices.append(notice)

    def update(self, progress: Progress) -> None:
        """Keep the report."""
        self.reports.append(progress)

    def close(self) -> None:
        """Note the end."""
        self.closed = True


class Broken(Kept):
    """A sink that fails."""

    def update(self, progress: Progress) -> None:
        """Fail."""
        super().update(progress)
        raise OSError("disk full")


def event(**changes: object) -> StreamingQueryProgress:
    """Return Spark's report of a batch that read slices 2 to 5 with 10 due."""
    source = {
        "description": "replay", "startOffset": {"slice": 2}, "endOffset": {"slice": 5},
        "latestOffset": {"slice": 10}, "numInputRows": 6, "inputRowsPerSecond": 1.0,
        "processedRowsPerSecond": 20.0,
    }  # fmt: skip
    said: dict[str, object] = {
        "id": "00000000-0000-0000-0000-000000000001",
        "runId": "00000000-0000-0000-0000-000000000002",
        "name": "run", "timestamp": "2024-03-01T00:00:00.000Z", "batchId": 4,
        "batchDuration": 300, "durationMs": {"triggerExecution": 300}, "eventTime": {},
        "stateOperators": [], "sources": [source], "numInputRows": 6,
        "inputRowsPerSecond": 1.0, "processedRowsPerSecond": 20.0,
        "sink": {"description": "delta", "numOutputRows": 1}, "observedMetrics": {},
    }  # fmt: skip
    return StreamingQueryProgress.fromJson(said | changes)


def timeline() -> Timeline:
    """Return ten minutes with two bars each."""
    return Timeline(np.arange(10) * MINUTE, np.arange(11) * 2)


def test_lag_is_the_clock_s_distance_to_the_batch() -> None:
    """At 60 event seconds a second, five slices waiting are a lag of five seconds."""
    progress = progress_of(event(), Course(timeline(), Pace(speed=60)))
    assert (progress.slices, progress.slices_total) == (5, 10)
    assert progress.lag_seconds == 5.0
    assert progress.event_time == "1970-01-01T00:04:00Z"
    assert progress.seconds == 0.3
    assert progress_of(event(), Course(timeline(), Pace())).lag_seconds == 0.0


def test_bars_of_a_replay_are_counted_by_its_offsets() -> None:
    """Spark counts one pack; three slices of two bars each are six bars, in 0.3 seconds."""
    batch = event(numInputRows=1)
    progress = progress_of(batch, Course(timeline(), Pace()))
    assert (progress.rows, progress.rows_per_second) == (6, 20.0)
    assert progress_of(batch).rows == 1


def test_observed_metrics_are_reported() -> None:
    """Orders, fills, the last equity in currency and the end come from the ledger itself."""
    observed = {"last_ts": 3 * MINUTE, "orders": 2, "fills": 1, "equity": 1000123.45, "ended": True}
    progress = progress_of(event(observedMetrics={METRICS: observed}))
    assert (progress.orders, progress.fills, progress.equity) == (2, 1, 1000123.45)
    assert progress.event_time == "1970-01-01T00:03:00Z"
    assert progress.ended
    empty = dict.fromkeys(observed)
    assert progress_of(event(observedMetrics={METRICS: empty})).equity is None


def test_lag_of_a_topic_is_in_rows() -> None:
    """From Kafka the lag is what the partitions still hold."""
    source = {
        "description": "kafka", "startOffset": None, "endOffset": {"bars": {"0": 5, "1": 7}},
        "latestOffset": {"bars": {"0": 9, "1": 7, "2": 4}}, "numInputRows": 12,
        "inputRowsPerSecond": 1.0, "processedRowsPerSecond": 1.0,
    }  # fmt: skip
    progress = progress_of(event(sources=[source]), Course(timeline(), Pace(speed=1)))
    assert progress.lag_rows == 8
    assert progress.slices is None


def test_the_metrics_file_has_a_line_for_each_batch(tmp_path: Path) -> None:
    """One JSON object a batch; a resumed run goes on in the same file."""
    path = tmp_path / "run" / "metrics.jsonl"
    for _ in range(2):
        sink = MetricsFile(path)
        sink.update(REPORT)
        sink.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0]["equity"] == 1000123.45
    assert lines[0]["event_time"] == "2024-03-01T14:30:00Z"
    sink = MetricsFile(path)
    sink.notice(Notice("restart", "it starts again", "2024-03-01T14:30:00Z"))
    sink.close()
    assert json.loads(path.read_text().splitlines()[2]) == {
        "kind": "restart", "text": "it starts again", "time": "2024-03-01T14:30:00Z",
    }  # fmt: skip
    with pytest.raises(OutputError, match="cannot write metrics"):
        MetricsFile(path / "below").update(REPORT)


def test_a_metrics_file_on_a_full_disk_can_be_closed() -> None:
    """What did not fit is told once and dropped, not written again at the end."""
    sink = MetricsFile(Path("/dev/full"))
    with pytest.raises(OutputError, match="cannot write metrics to /dev/full: No space left"):
        sink.update(REPORT)
    sink.close()


def test_the_bar_shows_the_run() -> None:
    """Event time, rate, lag, orders so far and equity are on the bar."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=160)
    bar = ProgressBar(console)
    bar.update(REPORT)
    bar.update(REPORT)
    bar.close()
    shown = text.getvalue()
    assert "50%" in shown
    assert "2024-03-01 14:30 · 5,000 bars/s · lag 1.5 s · 4 orders · equity 1,000,123.45" in shown
    assert describe(Progress(0, 0, 0.0, 0.0), 0) == "- · 0 bars/s · 0 orders"


def test_no_bar_without_a_terminal(tmp_path: Path) -> None:
    """Where stderr is no terminal only the file is written."""
    assert default_sinks(bar=False) == []
    (sink,) = default_sinks(tmp_path / "metrics.jsonl")
    assert isinstance(sink, MetricsFile)
    sink.close()


def test_a_failing_sink_is_left_out_and_never_raises() -> None:
    """A sink that fails gets nothing more; the others go on."""
    broken, kept = Broken(), Kept()
    reporter = Reporter([broken, kept])
    reporter.update(REPORT)
    reporter.update(REPORT)
    assert (len(broken.reports), len(kept.reports)) == (1, 2)
    assert [(n.kind, n.text) for n in kept.notices] == [
        ("sink", "reports no longer go to Broken, for it failed: OSError: disk full")
    ]
    reporter.close()
    assert kept.closed
    assert not broken.closed


def test_a_sink_that_would_end_the_process_is_left_out() -> None:
    """So rich tells of a closed pipe, which is no reason to end a live run."""

    class Drawn(Kept):
        def notice(self, notice: Notice) -> None:
            raise SystemExit(1)

    kept = Kept()
    Reporter([Drawn(), kept]).tell("restart", "the query starts again")
    assert {notice.kind for notice in kept.notices} == {"sink", "restart"}


def test_a_notice_that_no_sink_takes_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A library's caller who follows nothing still hears of what befalls the job."""
    Reporter([]).tell("restart", "the query starts again")
    assert caplog.messages == ["the query starts again"]
    assert caplog.records[0].name == "streambt_spark"


def test_a_batch_without_a_whole_report_still_tells_the_end() -> None:
    """Spark would drop what a listener raises, and a live run would wait for ever."""
    kept = Kept()
    listener = Listener(Reporter([kept]))
    offsets = {"endOffset": {"bars": {"0": "many"}}, "latestOffset": {"bars": {"0": 1}}}
    source = json.loads(event().json)["sources"][0] | offsets
    progress = event(observedMetrics={METRICS: {"ended": True}}, sources=[source])
    run = QueryStartedEvent(progress.id, progress.runId, progress.name, progress.timestamp, [])
    listener.onQueryStarted(run)
    listener.onQueryProgress(QueryProgressEvent(progress))
    assert [report.ended for report in kept.reports] == [True]
    assert [notice.kind for notice in kept.notices] == ["report"]
    assert "batch 4 has no whole report: " in kept.notices[0].text


def test_a_time_beyond_python_s_years_is_reported() -> None:
    """A bar of year 33658 is none, but its report must not stop the run."""
    observed = {"last_ts": 999_999_999_960_000_000, "ended": True}
    progress = progress_of(event(observedMetrics={METRICS: observed}))
    assert progress.event_time == "33658-09-27T01:46:00Z"
    assert progress.ended


def test_a_query_is_followed_to_its_last_batch(spark: SparkSession, tmp_path: Path) -> None:
    """Every batch of the named query is reported, the last too, and no other query's."""
    price = np.full(20, 10.0)
    bars = Bars(
        "1m", ("A", "B"), np.tile(np.arange(2, dtype=np.int32), 10),
        np.repeat(np.arange(10) * MINUTE, 2), price, price, price, price, price,
    )  # fmt: skip
    snapshot = write_snapshot(bars_to_batches(bars), tmp_path / "bars", interval="1m")
    replay = Replay(snapshot.path, slices_per_batch=4)
    kept = Kept()
    course = Course(replay.timeline(), replay.pace)
    with following(spark, Reporter([kept]), name="followed", course=course):
        for name in ("other", "followed"):
            rows = replay_rows(spark, replay).observe(
                METRICS,
                f.max(f.unix_micros("ts")).alias("last_ts"),
                f.count_if(f.col("kind") == "bar").alias("orders"),
                f.count_if(f.col("kind") == "end").alias("fills"),
                f.lit(123.45).alias("equity"),
                f.bool_or(f.col("kind") == "end").alias("ended"),
            )
            query = (
                rows.writeStream.format("noop")
                .queryName(name)
                .option("checkpointLocation", str(tmp_path / name))
                .trigger(availableNow=True)
                .start()
            )
            assert query.awaitTermination(120)
    assert [(r.slices, r.orders, r.fills) for r in kept.reports] == [
        (4, 8, 0),
        (8, 8, 0),
        (10, 4, 1),
    ]
    assert [r.event_time for r in kept.reports] == [f"1970-01-01T00:0{m}:00Z" for m in (3, 7, 9)]
    assert [r.ended for r in kept.reports] == [False, False, True]
    assert {r.equity for r in kept.reports} == {123.45}
    assert {r.lag_seconds for r in kept.reports} == {0.0}
