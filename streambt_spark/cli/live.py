"""`streambt live` and `replay-to-kafka`: the same job on live bars, and a feed to try it with."""

from __future__ import annotations

import typer

from streambt_spark.cli.options import takes
from streambt_spark.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(live)
    app.command(name="replay-to-kafka")(replay_to_kafka)


@takes(
    "kafka.bootstrap", "kafka.topic", "data.interval", "data.symbols", "data.calendar", "broker",
    "run", "live",
    without=("run.engine", "run.slices_per_batch", "run.speed", "run.bars_per_second"),
    argument="run.strategy",
)  # fmt: skip
def live(settings: Settings) -> None:
    """Run a strategy on a topic until its end marker or Ctrl-C; the same call resumes."""
    from streambt_spark.cli.follow import follow

    follow(settings)


@takes(
    "kafka", "data.snapshot", "data.symbols", "data.tz", "data.start", "data.end", "run.speed",
    "run.bars_per_second",
)  # fmt: skip
def replay_to_kafka(settings: Settings) -> None:
    """Send a snapshot's bars to a topic at a given rate, with heartbeats and an end marker."""
    from streambt_spark.cli.follow import feed

    feed(settings)
