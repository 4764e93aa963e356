"""What `streambt live` and `replay-to-kafka` do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from streambt_spark import strategy_file as strategies
from streambt_spark.cerebro import Cerebro, Universe
from streambt_spark.cli.backtest import broker_of, require_java, run_id, write_results
from streambt_spark.cli.folder import Folder
from streambt_spark.cli.inputs import Input, interval_of, require, time_range
from streambt_spark.cli.progress import progress_sinks
from streambt_spark.engines.job import Job
from streambt_spark.engines.spark import live
from streambt_spark.stores.intake import Counts
from streambt_spark.stores.lake import open_snapshot
from streambt_spark.streams.feed import replay_to_kafka
from streambt_spark.streams.pace import Pace
from streambt_spark.streams.replay import Replay

if TYPE_CHECKING:
    from streambt_spark.config import Settings
    from streambt_spark.engines.result import Result


def follow(settings: Settings) -> None:
    """Run the strategy on the topic until its end marker; write the folder, also after Ctrl-C."""
    file = require(settings.run.strategy, "STRATEGY", "a Python file with build(cerebro, bars)")
    folder = Folder(Path(require(settings.run.out, "--out", "a folder to resume from")).absolute())
    _, topic = _topic(settings)
    universe = Universe(settings.data.symbols, interval_of(settings))
    folder.require_writable()
    require_java()
    strategy = strategies.load(file)
    cerebro = Cerebro(broker_of(settings), calendar=settings.data.calendar)
    strategy.build(cerebro, cerebro.add_data(universe), settings.run.parameters)
    source = f"kafka topic {topic}"
    identity = run_id(cerebro, Input(universe, 0, "", source, Counts()))
    folder.claim(identity, "spark")
    result = _run(settings, strategy, cerebro, folder)
    found = Input(universe, result.counts["accepted"], "", source, Counts())
    write_results(folder, settings, identity, found, result)
    if result.settings.get("stopped"):
        raise KeyboardInterrupt


def _run(
    settings: Settings, strategy: strategies.Strategy, cerebro: Cerebro, folder: Folder
) -> Result:
    bootstrap, topic = _topic(settings)
    told = settings.run
    job = Job.in_folder(
        folder.path,
        ledger=told.ledger,
        checkpoint=told.checkpoint,
        shuffle_partitions=told.shuffle_partitions,
        arrow_batch=told.arrow_batch,
        modules=strategy.modules,
    )
    with progress_sinks(folder.path) as sinks:
        return live(
            cerebro.plan(),
            cerebro.calendar,
            job,
            bootstrap=bootstrap,
            topic=topic,
            starting_offsets=settings.live.offsets,
            max_offsets_per_batch=settings.live.max_offsets,
            trigger_seconds=settings.live.trigger,
            sinks=sinks,
        )


def feed(settings: Settings) -> None:
    """Send the snapshot to the topic; say how much was sent."""
    path = require(settings.data.snapshot, "--snapshot", "an exported snapshot's address")
    bootstrap, topic = _topic(settings)
    snapshot = open_snapshot(path)
    first, last = time_range(settings, snapshot.interval)
    replay = Replay(
        snapshot.path,
        version=snapshot.version,
        start=first,
        end=last,
        symbols=settings.data.symbols or None,
        pace=Pace(settings.run.speed, settings.run.bars_per_second or 0.0),
    )
    sent = replay_to_kafka(
        replay, bootstrap, topic, topic_partitions=settings.kafka.topic_partitions
    )
    typer.echo(
        f"sent {sent.bars:,} bars, {sent.heartbeats:,} heartbeats and {sent.ends:,} end markers "
        f"to {topic} in {sent.seconds:,.1f} s"
    )


def _topic(settings: Settings) -> tuple[str, str]:
    bootstrap = require(settings.kafka.bootstrap, "--bootstrap", "Kafka's addresses: host:port,…")
    topic = require(settings.kafka.topic, "--topic", "the topic of the bars")
    return bootstrap, topic
