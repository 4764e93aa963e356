"""The replay source under Spark: whole slices, in batches as asked, ending by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadMaxFiles
from pyspark.sql.streaming.query import StreamingQuery

from streambt_spark.core.market.bars import FIELDS, Bars
from streambt_spark.core.market.faults import FAULTS, Reason
from streambt_spark.core.market.rows import RowKind, Rows
from streambt_spark.errors import ConfigError, DataError
from streambt_spark.spark import source as module
from streambt_spark.spark.source import ReplayReader, Task, replay_packs, replay_rows
from streambt_spark.stores.lake import Snapshot, bars_to_batches, write_snapshot
from streambt_spark.streams import schema
from streambt_spark.streams.pace import Pace
from streambt_spark.streams.packing import from_bytes
from streambt_spark.streams.replay import Replay

MINUTE = 60_000_000
SLICES = 30
Row = tuple[Any, ...]


@pytest.fixture(scope="module")
def bars() -> Bars:
    """Three symbols over 30 minutes; the second has a bar every other minute only."""
    keys = [(m, s) for m in range(SLICES) for s in range(3) if s != 1 or m % 2 == 0]
    minute, code = np.array(keys).T
    close = 100 + np.random.default_rng(7).standard_normal(len(keys))
    volume = np.arange(len(keys), dtype=float)
    return Bars(
        "1m", ("A", "B", "C"), code.astype(np.int32), minute * MINUTE,
        close, close + 1, close - 1, close, volume,
    )  # fmt: skip


@pytest.fixture(scope="module")
def snapshot(bars: Bars, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The same as a Parquet snapshot."""
    path = tmp_path_factory.mktemp("lake") / "bars"
    return write_snapshot(bars_to_batches(bars), path, interval="1m", format="parquet")


def run(rows: DataFrame, folder: Path) -> tuple[dict[int, list[Row]], StreamingQuery]:
    """Run a stream to its own end; return the rows of each batch, sorted, and the query."""
    batches: dict[int, list[Row]] = {}

    def keep(batch: DataFrame, number: int) -> None:
        columns = ["symbol", "unix_micros(ts)", *FIELDS, "kind"]
        found = [tuple(row) for row in batch.selectExpr(*columns).collect()]
        if found:
            batches[number] = sorted(found, key=lambda row: (row[1], row[0] or "~", row[-1]))

    query = (
        rows.writeStream.foreachBatch(keep)
        .option("checkpointLocation", str(folder / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    assert query.awaitTermination(120), "the query did not end by itself"
    return batches, query


def expected_bars(bars: Bars) -> list[Row]:
    """Return the rows that the bars must become."""
    columns = [getattr(bars, name).tolist() for name in FIELDS]
    rows = zip(bars.code.tolist(), bars.ts.tolist(), *columns, strict=True)
    return [(bars.symbols[code], ts, *values, "bar") for code, ts, *values in rows]


def marks(batch: list[Row]) -> list[tuple[str, int]]:
    """Return the marks of a batch with their minute."""
    return [(row[-1], row[1] // MINUTE) for row in batch if row[0] is None]


@pytest.mark.parametrize("size", [1, 7, None])
def test_rows_equal_the_snapshot(
    size: int | None, spark: SparkSession, snapshot: Snapshot, bars: Bars, tmp_path: Path
) -> None:
    """Whatever the batches, the bars are the snapshot's to the bit, and the query ends."""
    batches, _ = run(replay_rows(spark, Replay(snapshot.path, slices_per_batch=size)), tmp_path)
    found = [row for batch in batches.values() for row in batch if row[0] is not None]
    assert found == expected_bars(bars)


def test_packs_hold_the_same_rows(
    spark: SparkSession, snapshot: Snapshot, bars: Bars, tmp_path: Path
) -> None:
    """As packs, the stream has the same bars and marks, batch by batch, in a few rows."""
    replay, packs = Replay(snapshot.path, slices_per_batch=7), []
    stream = replay_packs(spark, replay, ["C", "A"], 10)
    (
        stream.writeStream.foreachBatch(lambda batch, _: packs.append(batch.collect()))
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
        .awaitTermination(120)
    )
    batches = [
        Rows.concat(*(from_bytes(row[schema.ROWS]) for row in rows)) for rows in packs if rows
    ]
    assert [len(rows) for rows in packs if rows] == [3, 3, 3, 3, 2]
    assert [int(rows.ts.max()) // MINUTE for rows in batches] == [6, 13, 20, 27, 29]
    assert [(rows.kind == RowKind.END).sum() for rows in batches] == [0, 0, 0, 0, 1]
    assert [(rows.kind == RowKind.HEARTBEAT).sum() for rows in batches] == [1] * 5
    rows = Rows.concat(*batches)
    rows = rows.where(rows.kind == RowKind.BAR)
    assert rows.ts.tolist() == bars.ts.tolist()
    assert rows.column("close").tolist() == bars.close.tolist()
    assert [(1, -1, 0)[code] for code in bars.code] == rows.code.tolist()
    unknown = FAULTS.index(Reason.UNKNOWN_SYMBOL)
    assert ((rows.fault == unknown) == (rows.code == -1)).all()


def test_a_task_of_the_source_loads_no_pandas(snapshot: Snapshot) -> None:
    """Each batch of a run may start a process for it, and pandas alone takes half a second."""
    code = f"""if True:
    import sys
    from streambt_spark.spark.source import PackingReader, Replay
    reader = PackingReader(Replay({snapshot.path!r}), ["A"], 1000)
    end = reader.latestOffset({{"slice": 0}}, reader.getDefaultReadLimit())
    print(end, len(reader.partitions({{"slice": 0}}, end)), "pandas" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == f"{{'slice': {SLICES}}} 1 False\n", done.stderr


def test_batches_hold_whole_slices_and_close_with_a_heartbeat(
    spark: SparkSession, snapshot: Snapshot, tmp_path: Path
) -> None:
    """No minute is in two batches; each ends with one heartbeat, the last with an end too."""
    batches, _ = run(replay_rows(spark, Replay(snapshot.path, slices_per_batch=7)), tmp_path)
    minutes = [{row[1] // MINUTE for row in batch} for batch in batches.values()]
    assert minutes == [set(range(i, min(i + 7, SLICES))) for i in range(0, SLICES, 7)]
    beats = [[("heartbeat", m)] for m in (6, 13, 20, 27)]
    assert [marks(batch) for batch in batches.values()] == [
        *beats,
        [("end", SLICES - 1), ("heartbeat", SLICES - 1)],
    ]


def test_selection_by_time_and_symbol(
    spark: SparkSession, snapshot: Snapshot, tmp_path: Path
) -> None:
    """start ≤ ts < end and the symbols bound the bars; only slices that have one remain."""
    replay = Replay(snapshot.path, start=5 * MINUTE, end=11 * MINUTE, symbols=("B",))
    batches, _ = run(replay_rows(spark, replay), tmp_path)
    (batch,) = batches.values()
    assert [(row[0], row[1] // MINUTE) for row in batch if row[0]] == [
        ("B", 6), ("B", 8), ("B", 10),
    ]  # fmt: skip
    assert marks(batch) == [("end", 10), ("heartbeat", 10)]


def test_restart_continues_from_the_checkpoint(
    spark: SparkSession, snapshot: Snapshot, bars: Bars, tmp_path: Path
) -> None:
    """A query that failed in its third batch gives that batch again and then the rest, no more."""
    replay = Replay(snapshot.path, slices_per_batch=7)

    def fail(batch: DataFrame, number: int) -> None:
        if number == 2:
            raise RuntimeError("stop here")
        batch.write.format("noop").mode("append").save()

    query = (
        replay_rows(spark, replay)
        .writeStream.foreachBatch(fail)
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    with pytest.raises(Exception, match="stop here"):
        query.awaitTermination(120)
    batches, _ = run(replay_rows(spark, replay), tmp_path)
    assert list(batches) == [2, 3, 4]
    found = [row for batch in batches.values() for row in batch if row[0] is not None]
    assert found == [row for row in expected_bars(bars) if row[1] >= 14 * MINUTE]


def test_a_paced_run_gives_the_same_rows_and_ends(
    spark: SparkSession, snapshot: Snapshot, bars: Bars, tmp_path: Path
) -> None:
    """Pacing changes the batches and nothing else; the query ends after the last slice."""
    pace = Pace(speed=60 * 20)  # 20 slices a second
    batches, query = run(replay_rows(spark, Replay(snapshot.path, pace=pace)), tmp_path)
    found = [row for batch in batches.values() for row in batch if row[0] is not None]
    assert found == expected_bars(bars)
    assert len(batches) > 1
    assert batches[0][0][1] == 0
    source = json.loads(query.recentProgress[0].json)["sources"][0]
    assert source["endOffset"]["slice"] <= source["latestOffset"]["slice"]


def test_a_waiting_query_stops_at_once(
    spark: SparkSession, snapshot: Snapshot, tmp_path: Path
) -> None:
    """A query that waits minutes for its next slice can be stopped, without an error."""
    rows = replay_rows(spark, Replay(snapshot.path, pace=Pace(speed=0.1)))
    query = (
        rows.writeStream.format("noop")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    wait_for(lambda: query.lastProgress is not None)
    query.stop()
    assert not query.isActive
    assert query.exception() is None


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Poll until the condition holds."""
    import threading
    import time

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        threading.Event().wait(0.05)


class FakeClock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move the time."""
        self.slept.append(seconds)
        self.now += seconds


def test_offsets_follow_the_clock(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader waits exactly until the next slice, gives all that is due, and reports the lag."""
    clock = FakeClock()
    monkeypatch.setattr(module, "time", clock)
    reader = ReplayReader(Replay(snapshot.path, pace=Pace(speed=60), slices_per_batch=4))
    limit = reader.getDefaultReadLimit()
    assert reader.latestOffset({"slice": 0}, limit) == {"slice": 1}
    assert reader.latestOffset({"slice": 1}, limit) == {"slice": 2}
    assert clock.slept == [1.0]
    clock.now += 9.5
    assert reader.latestOffset({"slice": 2}, limit) == {"slice": 6}
    assert reader.reportLatestOffset() == {"slice": 11}
    assert reader.latestOffset({"slice": 6}, ReadAllAvailable()) == {"slice": 11}
    clock.now += 1000
    assert reader.latestOffset({"slice": 27}, limit) == {"slice": SLICES}
    assert reader.latestOffset({"slice": SLICES}, limit) == {"slice": SLICES}
    assert clock.slept == [1.0]


def test_limit_is_spark_s_own(snapshot: Snapshot) -> None:
    """slices_per_batch reaches Spark as a read limit, and the limit Spark gives is the one kept."""
    reader = ReplayReader(Replay(snapshot.path, slices_per_batch=7))
    assert reader.getDefaultReadLimit() == ReadMaxFiles(7)
    assert reader.latestOffset({"slice": 0}, ReadMaxFiles(3)) == {"slice": 3}
    assert reader.latestOffset({"slice": 0}, ReadAllAvailable()) == {"slice": SLICES}
    assert isinstance(ReplayReader(Replay(snapshot.path)).getDefaultReadLimit(), ReadAllAvailable)


def test_tasks_cover_a_batch_once(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are disjoint ranges of time, the last has the marks; an empty batch has none."""
    monkeypatch.setattr(module, "TASK_BARS", 5)
    reader = ReplayReader(Replay(snapshot.path, partitions=3))
    assert reader.partitions({"slice": 4}, {"slice": 4}) == []
    tasks = reader.partitions({"slice": 0}, {"slice": 20})
    assert [task.marks for task in tasks] == [(), (), ("heartbeat",)]
    counts = [sum(b.num_rows for b in reader.read(task)) for task in tasks]
    assert sum(counts) == 50 + 1
    last = reader.partitions({"slice": 29}, {"slice": SLICES})
    assert last == [Task(29 * MINUTE, 29 * MINUTE + 1, ("heartbeat", "end"))]


def test_options_survive_the_trip_through_spark() -> None:
    """What is set on the driver is what the source gets as options."""
    full = Replay("/bars", 3, "f00", 5, 9, ("A", "@B"), Pace(bars_per_second=0.1), 7, 4)
    for replay in (full, Replay("/bars"), Replay("/bars", pace=Pace(speed=1 / 3))):
        assert Replay.of(replay.options()) == replay


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs the option path"),
        ({"path": "x", "speed": "fast"}, "cannot be read: .*'fast'"),
        ({"path": "x", "slices_per_batch": "0"}, "slices_per_batch is 0"),
        ({"path": "x", "partitions": "-1"}, "partitions is -1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, str], said: str) -> None:
    """A missing or impossible option is named."""
    with pytest.raises(ConfigError, match=said):
        Replay.of(options)


def test_a_task_gives_no_row_of_a_damaged_file(tmp_path: Path, bars: Bars) -> None:
    """What Spark's workers read is verified as everything is."""
    write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m")
    file = next((tmp_path / "s").rglob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 4] ^= 1
    file.write_bytes(content)
    reader = ReplayReader(Replay(str(tmp_path / "s")))
    with pytest.raises(DataError, match=r"part-00000\.parquet is not the file that was exported"):
        next(reader.read(Task(0, SLICES * MINUTE)))
