"""How a running job is followed: a bar on a terminal, and progress.jsonl in the run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from streambt_spark.spark.listener import MetricsFile, Progress, ProgressSink, default_sinks


@dataclass(slots=True)
class LateFile:
    """A metrics file that is opened at the first report: a refused run must leave nothing."""

    path: Path
    _file: MetricsFile | None = field(default=None, init=False)

    def update(self, progress: Progress) -> None:
        """Append the report."""
        self._file = self._file or MetricsFile(self.path)
        self._file.update(progress)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


@contextmanager
def progress_sinks(folder: Path | None) -> Iterator[list[ProgressSink]]:
    """Yield what the reports of a run go to, closed also where the run does not start."""
    sinks = [*default_sinks(), *([LateFile(folder / "progress.jsonl")] if folder else [])]
    try:
        yield sinks
    finally:
        for sink in sinks:
            sink.close()
