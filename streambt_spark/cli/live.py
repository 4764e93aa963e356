"""`streambt live` and `replay-to-kafka`: the same job on live bars, and a feed to try it with."""

from __future__ import annotations

from typing import Annotated

import typer

from streambt_spark.cli import options as opt


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(live)
    app.command(name="replay-to-kafka")(replay_to_kafka)


def live(
    strategy: Annotated[
        str | None, typer.Argument(metavar="STRATEGY.py", help="A file with build(cerebro, bars).")
    ] = None,
    bootstrap: opt.Bootstrap = None,
    topic: opt.Topic = None,
    interval: opt.Interval = None,
    symbols: opt.Symbols = None,
    calendar: opt.Calendar = None,
    cash: opt.Cash = None,
    commission: opt.Commission = None,
    slippage: opt.SlippageText = None,
    allow_short: opt.AllowShort = None,
    parameters: opt.Parameters = None,
    offsets: opt.Offsets = None,
    trigger: opt.Trigger = None,
    max_offsets: opt.MaxOffsets = None,
    shuffle_partitions: opt.ShufflePartitions = None,
    arrow_batch: opt.ArrowBatch = None,
    ledger: opt.Ledger = None,
    checkpoint: opt.Checkpoint = None,
    out: opt.Out = None,
    profile: opt.Profile = None,
    show_config: opt.ShowConfig = False,
) -> None:
    """Run a strategy on a topic until its end marker or Ctrl-C; the same call resumes."""
    given = {k: v for k, v in locals().items() if k not in ("profile", "show_config")}
    from streambt_spark.config import load

    loaded = load(given, profile)
    if show_config:
        typer.echo(loaded.text)
        return
    from streambt_spark.cli.follow import follow

    follow(loaded.settings)


def replay_to_kafka(
    snapshot: opt.Snapshot = None,
    bootstrap: opt.Bootstrap = None,
    topic: opt.Topic = None,
    symbols: opt.Symbols = None,
    tz: opt.Tz = None,
    start: opt.Start = None,
    end: opt.End = None,
    speed: opt.Speed = None,
    bars_per_second: opt.BarsPerSecond = None,
    topic_partitions: opt.TopicPartitions = None,
    profile: opt.Profile = None,
    show_config: opt.ShowConfig = False,
) -> None:
    """Send a snapshot's bars to a topic at a given rate, with heartbeats and an end marker."""
    given = {k: v for k, v in locals().items() if k not in ("profile", "show_config")}
    from streambt_spark.config import load

    loaded = load(given, profile)
    if show_config:
        typer.echo(loaded.text)
        return
    from streambt_spark.cli.follow import feed

    feed(loaded.settings)
