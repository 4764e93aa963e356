"""How a running job is followed: a bar on a terminal, and progress.jsonl in the run's folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.bars import Bars
from streambt_spark.spark.listener import (
    Course,
    MetricsFile,
    Progress,
    ProgressSink,
    default_sinks,
)
from streambt_spark.spark.pace import Pace, Timeline

if TYPE_CHECKING:
    from streambt_spark.config import Settings
    from streambt_spark.stores.lake import Snapshot


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


def course_of(settings: Settings, data: Bars | Snapshot) -> Course:
    """Return the slices of a replay and its pace."""
    pace = Pace(settings.run.speed, settings.run.bars_per_second or 0.0)
    if not isinstance(data, Bars):
        return Course(Timeline.of(data), pace)
    ts, counts = np.unique(data.ts, return_counts=True)
    return Course(Timeline(ts, np.concatenate(([0], np.cumsum(counts)))), pace)
