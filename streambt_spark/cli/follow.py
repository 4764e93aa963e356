"""What `streambt live` and `replay-to-kafka` do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from streambt_spark import strategy_file
from streambt_spark.assembly import assemble, strategy_path
from streambt_spark.cerebro import Cerebro, Universe
from streambt_spark.cli.backtest import require_enabled, require_java, write_results
from streambt_spark.cli.folder import Folder
from streambt_spark.cli.inputs import Input, interval_of, require, time_range
from streambt_spark.cli.progress import progress_sinks
from streambt_spark.engines.binding import run_id
from streambt_spark.engines.job import Job
from streambt_spark.engines.spark import live
from streambt_spark.stores.intake import Counts
from streambt_spark.stores.lake import open_snapshot
from streambt_spark.stores.lease import lease
from streambt_spark.stores.location import run_folder
from streambt_spark.streams.feed import replay_to_kafka
from streambt_spark.streams.pace import Pace
from streambt_spark.streams.replay import Replay

if TYPE_CHECKING:
    from streambt_spark.engines.result import Result
    from streambt_spark.settings import Settings


def follow(settings: Settings) -> None:
    """Run the strategy on the topic until its end marker; write the folder, also after Ctrl-C.

    Raises StrategyError at the end where a strategy was disabled.
    """
    strategy_file.look_at(strategy_path(settings))
    folder = Folder(run_folder(require(settings.run.out, "--out", "a folder to resume from")))
    _, topic = _topic(settings)
    universe = Universe(settings.data.symbols, interval_of(settings))
    folder.require_writable()
    require_java()
    cerebro = assemble(settings, universe)
    address = f"kafka topic {topic}"
    with lease(folder.path):
        result = _run(settings, cerebro, folder)
        source = Input(universe, result.counts["accepted"], "", address, Counts())
        write_results(folder, settings, run_id(result.plan, address), source, result)
    require_enabled(result)
    if result.settings.get("stopped"):
        raise KeyboardInterrupt


def _run(settings: Settings, cerebro: Cerebro, folder: Folder) -> Result:
    bootstrap, topic = _topic(settings)
    run = settings.run
    job = Job.in_folder(
        folder.path,
        ledger=run.ledger,
        checkpoint=run.checkpoint,
        blocks=run.blocks,
        shuffle_partitions=run.shuffle_partitions,
        arrow_batch=run.arrow_batch,
        modules=cerebro.modules,
    )
    with progress_sinks(folder.path, job.ledger) as sinks:
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
