"""How a running job is followed: a bar on a terminal, and progress.jsonl in the run's folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rich.progress
from rich.console import Console

from streambt_spark.cli.output import disabled_line, remark
from streambt_spark.cli.terminal import Terminal
from streambt_spark.spark.listener import (
    MetricsFile,
    Notice,
    Progress,
    ProgressSink,
    line_of,
)
from streambt_spark.stores.ledger import Failure, read_failures


@contextmanager
def progress_sinks(folder: Path | None, ledger: str | None = None) -> Iterator[list[ProgressSink]]:
    """Yield what the reports of a run go to, closed also where the run does not start.

    With the address of its ledger, a strategy that is disabled is told of at once.
    """
    sinks: list[ProgressSink] = [
        *default_sinks(folder / "progress.jsonl" if folder else None),
        Remarks(),
    ]
    if ledger is not None:
        sinks.append(Alarm(ledger))
    try:
        yield sinks
    finally:
        for sink in sinks:
            _close(sink)


def _close(sink: ProgressSink) -> None:
    try:
        sink.close()
    except Exception as error:  # must not replace the run's own error, nor its success
        remark(f"the end of {type(sink).__name__} failed: {line_of(error)}")


class Remarks:
    """A line for what befalls a job: a restart, a broker that is gone, a sink that failed."""

    def update(self, progress: Progress) -> None:
        """Nothing to say of a batch."""

    def notice(self, notice: Notice) -> None:
        """Print the notice."""
        remark(notice.text)

    def close(self) -> None:
        """Nothing is held."""


class Alarm:
    """A loud line as soon as a strategy is disabled: the batch reports it, the ledger says why."""

    def __init__(self, ledger: str) -> None:
        self._ledger = ledger
        self._heard: set[Failure] = set()

    def update(self, progress: Progress) -> None:
        """Tell of the strategies that were not told of before."""
        if not progress.disabled:
            return
        for failure in read_failures(self._ledger):
            if failure not in self._heard:
                self._heard.add(failure)
                remark(f"ERROR: {disabled_line(failure)}", style="bold red")

    def close(self) -> None:
        """Nothing is held."""


class ProgressBar:
    """A bar on the terminal: event time reached, bars a second, lag, orders and equity."""

    def __init__(self, console: Console | None = None) -> None:
        self._orders = 0
        self._bar = rich.progress.Progress(
            rich.progress.BarColumn(bar_width=24),
            rich.progress.TextColumn("{task.percentage:>3.0f}%"),
            rich.progress.TextColumn("{task.description}"),
            console=console or Terminal(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("waiting for the first batch", total=None)
        self._bar.start()

    def update(self, progress: Progress) -> None:
        """Show the report."""
        self._orders += progress.orders
        self._bar.update(
            self._task,
            total=progress.slices_total,
            completed=progress.slices or 0,
            description=describe(progress, self._orders),
        )

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def describe(progress: Progress, orders: int) -> str:
    """Return the report as the line beside the bar; `orders` are those of the run so far."""
    parts = [(progress.event_time or "-").replace("T", " ").replace(":00Z", "").rstrip("Z")]
    parts.append(f"{progress.rows_per_second:,.0f} bars/s")
    if progress.lag_seconds:
        parts.append(f"lag {progress.lag_seconds:,.1f} s")
    if progress.lag_rows:
        parts.append(f"lag {progress.lag_rows:,} rows")
    parts.append(f"{orders:,} orders")
    if progress.equity is not None:
        parts.append(f"equity {progress.equity:,.2f}")
    return " · ".join(parts)


def default_sinks(metrics: Path | None = None, *, bar: bool | None = None) -> list[ProgressSink]:
    """Return the metrics file, where a path is given, and the bar, where stderr is a terminal."""
    sinks: list[ProgressSink] = [] if metrics is None else [MetricsFile(metrics)]
    if sys.stderr.isatty() if bar is None else bar:
        sinks.append(ProgressBar())
    return sinks
