"""How a running job is followed: a bar on a terminal, and progress.jsonl in the run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streambt_spark.spark.listener import ProgressSink, default_sinks


@contextmanager
def progress_sinks(folder: Path | None) -> Iterator[list[ProgressSink]]:
    """Yield what the reports of a run go to, closed also where the run does not start."""
    sinks = default_sinks(folder / "progress.jsonl" if folder else None)
    try:
        yield sinks
    finally:
        for sink in sinks:
            sink.close()
