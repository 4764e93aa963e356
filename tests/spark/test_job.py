"""A job shares its session with others: they may stop its query, and run queries of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from examples import sma_cross
from streambt_spark import Cerebro, Universe
from streambt_spark.core.market.bars import Bars
from streambt_spark.engines import spark as engine
from streambt_spark.engines.job import Job
from streambt_spark.engines.result import Result
from streambt_spark.errors import RunLost
from streambt_spark.spark.listener import METRICS, Progress
from streambt_spark.stores.lake import bars_to_batches, write_snapshot
from streambt_spark.streams.feed import replay_to_kafka
from streambt_spark.streams.replay import Replay
from tests.services.kafka import KafkaBroker

DAY = 86_400_000_000
UNREAD = {
    "enableDeletionVectors": "true",
    "columnMapping.mode": "name",
    "checkpointPolicy": "v2",
    "enableTypeWidening": "true",
}
CUT = "the streaming query was stopped before its end; run the same command to resume"


def few_bars() -> Bars:
    """Return forty days of one symbol that goes up and down."""
    day = np.arange(40)
    price = 100.0 + 10.0 * np.sin(day / 3)
    columns = [price] * 5
    return Bars("1d", ("A",), np.zeros(40, np.int32), day * DAY, *columns)


def crossing(data: Bars | Universe) -> Cerebro:
    """Return one strategy over them."""
    cerebro = Cerebro()
    sma_cross.build(cerebro, cerebro.add_data(data), fast=2, slow=5)
    return cerebro


class Once:
    """A sink that does something when the first batch is reported."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act

    def update(self, _: Progress) -> None:
        """Do it."""
        act, self._act = self._act, None
        if act is not None:
            act()

    def close(self) -> None:
        """Nothing is held."""


def cancel(spark: SparkSession) -> None:
    """Stop every query of the session, as another cell of a notebook may."""
    for query in spark.streams.active:
        query.stop()


def test_a_replay_that_another_stops_can_be_resumed(spark: SparkSession, tmp_path: Path) -> None:
    """The quiet end of its query is no end of the stream; nothing that it wrote is at fault."""
    cerebro = crossing(few_bars())
    with pytest.raises(RunLost) as caught:
        cerebro.run("spark", out=tmp_path, slices_per_batch=4, bars_per_second=8,
                    sinks=[Once(lambda: cancel(spark))])  # fmt: skip
    assert str(caught.value) == CUT
    resumed = cerebro.run("spark", out=tmp_path, slices_per_batch=4)
    assert resumed.digest == cerebro.run("local").digest


def test_a_ledger_is_read_whatever_tables_the_session_makes(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Some clusters give every new table features that only Spark reads."""
    prefix, cerebro = "spark.databricks.delta.properties.defaults.", crossing(few_bars())
    for name, value in UNREAD.items():
        spark.conf.set(prefix + name, value)
    try:
        found = cerebro.run("spark", out=tmp_path)
        assert {name: spark.conf.get(prefix + name) for name in UNREAD} == UNREAD
    finally:
        for name in UNREAD:
            spark.conf.unset(prefix + name)
    assert found.digest == cerebro.run("local").digest
    assert DeltaTable(tmp_path / "ledger").protocol().min_reader_version == 1


@pytest.mark.store
def test_a_live_job_ends_with_its_own_stream_alone(
    spark: SparkSession, kafka: KafkaBroker, tmp_path: Path
) -> None:
    """Neither where its query is stopped nor where another query's batch tells of an end."""
    bars = few_bars()
    snapshot = write_snapshot(bars_to_batches(bars), tmp_path / "bars", interval="1d")
    replay_to_kafka(Replay(snapshot.path), kafka.bootstrap, "shared", topic_partitions=1)
    cerebro = crossing(Universe(("A",), "1d"))

    def live(act: Callable[[], None]) -> Result:
        return engine.live(
            cerebro.plan(), cerebro.calendar, Job.in_folder(tmp_path / "out"),
            bootstrap=kafka.bootstrap, topic="shared", max_offsets_per_batch=5, sinks=[Once(act)],
        )  # fmt: skip

    def begin_another() -> None:
        rows = spark.readStream.format("rate").load()
        rows = rows.observe(METRICS, (f.count(f.lit(1)) >= 0).alias("ended"))
        rows.writeStream.format("noop").queryName("another").start()

    with pytest.raises(RunLost) as caught:
        live(lambda: cancel(spark))
    assert str(caught.value) == CUT
    try:
        found = live(begin_another)
    finally:
        cancel(spark)
    assert found.digest == crossing(bars).run("local").digest
