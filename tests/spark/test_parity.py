"""One ledger: the Spark job gives the local engine's, to the bit, however the bars reach it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession

from examples import momentum_rank, rsi_reversion, sma_cross
from streambt_spark import Broker, Cerebro, Universe
from streambt_spark.allocation import Bar, FixedSize, Portfolio
from streambt_spark.core.market.bars import Bars
from streambt_spark.engines import spark as engine
from streambt_spark.engines.job import Job
from streambt_spark.stores.intake import intake
from streambt_spark.stores.lake import Snapshot, bars_to_batches, write_snapshot
from streambt_spark.stores.ledger import check_numbers, ledger_digest, read_ledger
from streambt_spark.streams import feed
from streambt_spark.streams.feed import replay_to_kafka
from streambt_spark.streams.kafka import confluent
from streambt_spark.streams.replay import Replay
from tests.commands import run_streambt
from tests.services.kafka import KafkaBroker
from tests.services.weed import S3Server

SESSIONS = 60
ALL_SLICES = 1_000_000


@pytest.fixture(scope="module")
def bars(market: Path) -> Bars:
    """29,245 daily bars of five stocks."""
    return intake(str(market / "us_daily.csv.gz"), interval="1d").bars


@pytest.fixture(scope="module")
def few(bars: Bars) -> Bars:
    """The last 60 sessions."""
    return bars.take(bars.ts >= np.unique(bars.ts)[-SESSIONS])


@pytest.fixture(scope="module")
def snapshot(bars: Bars, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """All bars, exported."""
    path = tmp_path_factory.mktemp("lake") / "all"
    return write_snapshot(bars_to_batches(bars), path, interval="1d")


@pytest.fixture(scope="module")
def small(few: Bars, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The last sessions, exported."""
    path = tmp_path_factory.mktemp("lake") / "few"
    return write_snapshot(bars_to_batches(few), path, interval="1d")


def fails_in_2020(
    strength: Mapping[str, float], portfolio: Portfolio, bars: Mapping[str, Bar]
) -> dict[str, float]:
    """Hold ten of each that rises, until the year it fails in."""
    if portfolio.ts >= np.datetime64("2020-11-01", "us").astype(np.int64):
        raise ValueError(f"boom at {portfolio.ts}")
    return {symbol: 10.0 if wish > 0 else 0.0 for symbol, wish in strength.items()}


RAISED = fails_in_2020.__code__.co_firstlineno + 5
"""The line that raises."""


def strategies(data: Bars | Snapshot | Universe) -> Cerebro:
    """Return five strategies in one block of lanes.

    One of them is across symbols, one fails on its way, and one records its session ends alone.
    """
    cerebro = Cerebro(Broker(cash=1_000_000, commission="0.1%", slippage="1 ticks"))
    handle = cerebro.add_data(data)
    for example in (sma_cross, rsi_reversion, momentum_rank):
        example.build(cerebro, handle)
    change = cerebro.add_indicator("ROC", handle["close"], timeperiod=3)
    cerebro.add_strat(change, fails_in_2020)
    cerebro.add_strat(change, FixedSize(5), label={"size": 5}, record="equity")
    return cerebro


@pytest.mark.parametrize(
    "options",
    [
        {"slices_per_batch": 250},
        {"slices_per_batch": ALL_SLICES},
        {"slices_per_batch": ALL_SLICES, "shuffle_partitions": 4, "arrow_batch": 100_000},
        {"slices_per_batch": 3_000, "blocks": 2},
    ],
    ids=["batches of 250", "one batch", "four partitions", "two blocks of lanes"],
)
def test_replay_gives_the_local_ledger(
    spark: SparkSession, bars: Bars, snapshot: Snapshot, tmp_path: Path, options: dict[str, int]
) -> None:
    """Batches, partitions and Arrow chunks leave no trace, and no row is lost."""
    expected = strategies(bars).run("local")
    found = strategies(snapshot).run("spark", out=tmp_path, **options)
    assert found.digest == expected.digest
    check_numbers(read_ledger(str(tmp_path / "ledger")), "ledger")
    (failed,) = (row for row in found.events.to_pylist() if row["kind"] == "disabled")
    assert failed["text"].startswith("ValueError: boom at 16")
    assert failed["text"].endswith(f"(test_parity.py line {RAISED})")
    assert found.counts == {
        "read": 29_245, "accepted": 29_245, "duplicate": 0, "late": 0, "rejected": 0, "revised": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [{"slices_per_batch": 1}, {"slices_per_batch": 7, "arrow_batch": 3}],
    ids=["a slice a batch", "seven, Arrow by three rows"],
)
def test_tiny_batches_give_the_local_ledger(
    spark: SparkSession, few: Bars, small: Snapshot, tmp_path: Path, options: dict[str, int]
) -> None:
    """A batch of one slice and Arrow batches of three rows leave no trace, in the session too."""
    arrow_batch = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    expected = strategies(few).run("local")
    assert strategies(small).run("spark", out=tmp_path, **options).digest == expected.digest
    assert spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch") == arrow_batch != "3"


def test_snapshot_and_ledger_on_s3_give_the_local_ledger(
    s3: S3Server, bars: Bars, tmp_path: Path
) -> None:
    """Bars exported to S3 and a ledger written there are the same as in a folder.

    In a process of its own: Spark's JVM takes its credentials from the environment it starts in.
    """
    base = f"s3a://{s3.bucket}/{tmp_path.name}"
    write_snapshot(bars_to_batches(bars), f"{base}/bars", interval="1d")
    strategy = Path(sma_cross.__file__)
    words = ["run", str(strategy), "--snapshot", f"{base}/bars", "--engine", "spark"]
    words += ["--ledger", f"{base}/ledger", "--out", str(tmp_path / "out")]
    done = run_streambt(*words)
    assert done.returncode == 0, done.stderr
    cerebro = Cerebro()
    sma_cross.build(cerebro, cerebro.add_data(bars))
    expected = cerebro.run("local").digest
    told = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert told["digest"] == expected
    assert ledger_digest(read_ledger(f"{base}/ledger")) == expected


def test_kafka_gives_the_local_ledger(
    spark: SparkSession, kafka: KafkaBroker, bars: Bars, snapshot: Snapshot, tmp_path: Path
) -> None:
    """The live job on a topic of three partitions makes the backtest's ledger, and ends."""
    topic = "parity"
    sent = replay_to_kafka(Replay(snapshot.path), kafka.bootstrap, topic, topic_partitions=3)
    assert sent.bars == len(bars)
    cerebro = strategies(Universe(bars.symbols, "1d"))
    found = engine.live(
        cerebro.plan(),
        cerebro.calendar,
        Job.in_folder(tmp_path),
        bootstrap=kafka.bootstrap,
        topic=topic,
        max_offsets_per_batch=10_000,
    )
    assert found.digest == strategies(bars).run("local").digest
    assert found.counts["accepted"] == len(bars)


JUNK = {
    b'{"symbol":"AAPL","ts":32472144000000000,%s}': "bad_time",  # of the year 2999
    b'{"symbol":"AAPL","ts":999999999960000000,%s}': "bad_time",
    b'{"symbol":"AAPL","ts":99999999999999999999,%s}': "bad_time",
    b'{"symbol":"AAPL","ts":7258118400000000,%s}': "beyond_horizon",  # of the year 2200
    b'{"symbol":"AAPL","kind":"heartbeat","ts":7258118400000000}': "beyond_horizon",
    b'{"symbol":"AAPL","ts":0,%s}{"symbol":"AAPL","ts":86400000000,%s}': "malformed",
    b'[{"symbol":"AAPL","ts":0,%s}]': "malformed",
    b'{"symbol":"AAPL","kind":"merger","ts":0}': "unknown_kind",
    b'{"symbol":"AAPL","kind":"split","ts":0,"ratio":4}': "split",
    b'{"symbol":"AAPL","kind":"order","ts":0,"side":"buy","quantity":1}': "order",
    b'{"kind":"rate","ts":0,"currency":"EUR","quote":"USD","rate":1.1}': "rate",
}
"""Messages that must change no account, and what the ledger says of each."""


def test_junk_on_the_topic_changes_no_account(
    spark: SparkSession, kafka: KafkaBroker, few: Bars, small: Snapshot, tmp_path: Path
) -> None:
    """Far ahead, two in one, of kinds unknown or without effect: each is told of exactly once."""
    client, topic = confluent(), "junk"
    feed._make_topic(client, kafka.bootstrap, topic, 1)
    outbox = feed.Outbox(client, kafka.bootstrap, topic)
    prices = b'"open":1,"high":1,"low":1,"close":1,"volume":1'
    outbox.send([("AAPL", value.replace(b"%s", prices).decode()) for value in JUNK])
    outbox.close()
    replay_to_kafka(Replay(small.path), kafka.bootstrap, topic)
    cerebro = strategies(Universe(few.symbols, "1d"))
    found = engine.live(
        cerebro.plan(),
        cerebro.calendar,
        Job.in_folder(tmp_path),
        bootstrap=kafka.bootstrap,
        topic=topic,
        max_offsets_per_batch=100,
    )
    assert found.digest == strategies(few).run("local").digest
    rejected = sum(reason not in ("split", "order", "rate") for reason in JUNK.values())
    assert (found.counts["accepted"], found.counts["rejected"]) == (len(few), rejected)
    assert found.counts["read"] == len(few) + rejected
    aside = found.ledger.filter(
        pc.is_in(found.ledger["kind"], pa.array(["rejected", "unsupported"]))
    )
    assert sorted(aside["reason"].to_pylist()) == sorted(JUNK.values())
