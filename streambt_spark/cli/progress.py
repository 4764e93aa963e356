"""How a running job is followed: a bar on a terminal, and progress.jsonl in the run's folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from streambt_spark.spark.listener import (
    MetricsFile,
    Progress,
    ProgressSink,
    default_sinks,
)

if TYPE_CHECKING:
    pass


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


def progress_sinks(path: Path | None) -> list[ProgressSink]:
    """Return what the reports of a run go to."""
    return [*default_sinks(), *([LateFile(path)] if path else [])]
