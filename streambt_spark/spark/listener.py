"""What a running query reports, and a line of JSON for each batch."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
    StreamingQueryProgress,
)

from streambt_spark.core.market.bars import SECOND_US
from streambt_spark.errors import OutputError
from streambt_spark.streams.pace import Pace, Timeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

METRICS = "ledger"
"""The name of the observed metrics: last_ts (UTC µs), orders, fills, disabled, equity, ended."""

LAST_EVENTS_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One batch, and the run so far.

    `event_time` is ISO 8601, UTC; `lag_seconds` is how far behind the paced clock the batch ended
    (0 without a pace, None without a replay) and `lag_rows` how many rows of a topic were waiting;
    `orders`, `fills` and `disabled` (strategies whose code raised) are the batch's own, `equity`
    the first lane's last one, in its currency.
    """

    batch: int
    rows: int
    rows_per_second: float
    seconds: float
    event_time: str | None = None
    slices: int | None = None
    slices_total: int | None = None
    lag_seconds: float | None = None
    lag_rows: int | None = None
    orders: int = 0
    fills: int = 0
    disabled: int = 0
    equity: float | None = None
    ended: bool = False


class ProgressSink(Protocol):
    """Takes the progress of a run; quick, for the next batch's report waits for it."""

    def update(self, progress: Progress) -> None:
        """Take the report of one batch."""

    def close(self) -> None:
        """Finish; nothing comes any more."""


@dataclass(frozen=True, slots=True)
class Course:
    """The way a replay goes, to tell where on it a batch is and how many bars it had."""

    timeline: Timeline
    pace: Pace

    def place(self, progress: Progress, source: Mapping[str, Any]) -> Progress:
        """Return the progress with bars, slice, time and lag, as the source's offsets say.

        What Spark counts as input rows are packs of bars.
        """
        before, done = _slice(source.get("startOffset")) or 0, _slice(source.get("endOffset"))
        if done is None or not 0 < done <= len(self.timeline):
            return progress
        due_at = self.pace.due_at(self.timeline)
        due = _slice(source.get("latestOffset")) or done
        lag = due_at[due - 1] - due_at[done - 1] if self.pace.limited else 0.0
        bars = int(self.timeline.bars_before[done] - self.timeline.bars_before[before])
        return replace(
            progress,
            rows=bars,
            rows_per_second=round(bars / progress.seconds, 1) if progress.seconds else 0.0,
            slices=done,
            slices_total=len(self.timeline),
            event_time=progress.event_time or _iso(int(self.timeline.ts[done - 1])),
            lag_seconds=max(0.0, round(float(lag), 3)),
        )


@contextmanager
def following(
    spark: SparkSession,
    sinks: Sequence[ProgressSink],
    *,
    name: str | None = None,
    course: Course | None = None,
) -> Iterator[None]:
    """Report the query called `name` (any, where None) to the sinks while the block runs.

    At its end the reports that are still on their way are waited for, and the sinks closed.
    """
    listener = Listener(sinks, name=name, course=course)
    spark.streams.addListener(listener)
    try:
        yield
        listener.wait(LAST_EVENTS_SECONDS)
    finally:
        with suppress(Exception):
            spark.streams.removeListener(listener)
        listener.close()


class Listener(StreamingQueryListener):
    """Turns Spark's events into progress. It never raises: a sink that fails is left out."""

    def __init__(
        self,
        sinks: Sequence[ProgressSink],
        *,
        name: str | None = None,
        course: Course | None = None,
    ) -> None:
        self._sinks = list(sinks)
        self._name = name
        self._course = course
        self._runs: set[str] = set()
        self._idle = threading.Event()
        self._idle.set()

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802
        """Note the query if it is the one to follow."""
        if self._name is None or event.name == self._name:
            self._runs.add(str(event.runId))
            self._idle.clear()

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802
        """Report a batch."""
        with suppress(Exception):
            if str(event.progress.runId) in self._runs:
                self._report(progress_of(event.progress, self._course))

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802
        """Nothing to say: no batch ran."""

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802
        """Note that no more reports come."""
        self._runs.discard(str(event.runId))
        if not self._runs:
            self._idle.set()

    def wait(self, seconds: float) -> bool:
        """Wait until the queries followed have said their last; return whether they have."""
        return self._idle.wait(seconds)

    def close(self) -> None:
        """Close the sinks."""
        for sink in self._sinks:
            with suppress(Exception):
                sink.close()
        self._sinks.clear()

    def _report(self, progress: Progress) -> None:
        for sink in tuple(self._sinks):
            try:
                sink.update(progress)
            except Exception:  # a full disk or a closed terminal must not end the run
                self._sinks.remove(sink)


def progress_of(event: StreamingQueryProgress, course: Course | None = None) -> Progress:
    """Return what a batch's event says."""
    said = event.observedMetrics.get(METRICS)
    observed: dict[str, Any] = said.asDict() if said is not None else {}
    last_ts, equity = observed.get("last_ts"), observed.get("equity")
    progress = Progress(
        batch=event.batchId,
        rows=event.numInputRows,
        rows_per_second=round(_finite(event.processedRowsPerSecond), 1),
        seconds=event.durationMs.get("triggerExecution", 0) / 1000,
        event_time=_iso(last_ts) if isinstance(last_ts, int) else None,
        orders=observed.get("orders") or 0,
        fills=observed.get("fills") or 0,
        disabled=observed.get("disabled") or 0,
        equity=equity,
        ended=bool(observed.get("ended")),
    )
    for source in json.loads(event.json)["sources"]:
        progress = replace(progress, lag_rows=_lag_rows(source))
        if course is not None:
            progress = course.place(progress, source)
    return progress


def _slice(offset: Any) -> int | None:
    offset = json.loads(offset) if isinstance(offset, str) else offset
    found = offset.get("slice") if isinstance(offset, dict) else None
    return found if isinstance(found, int) else None


def _lag_rows(source: Mapping[str, Any]) -> int | None:
    end, latest = source.get("endOffset"), source.get("latestOffset")
    if not (isinstance(end, dict) and isinstance(latest, dict)) or "slice" in end:
        return None
    return sum(
        int(at) - int(end.get(topic, {}).get(partition, 0))
        for topic, partitions in latest.items()
        for partition, at in partitions.items()
    )


def _iso(ts: int) -> str:
    return datetime.fromtimestamp(ts / SECOND_US, UTC).isoformat().replace("+00:00", "Z")


def _finite(value: float | None) -> float:
    return float(value) if value is not None and np.isfinite(value) else 0.0


class MetricsFile:
    """A file with one JSON object a batch, appended and flushed; a resumed run goes on in it.

    It is made with the first batch, so that a run that is refused leaves nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def update(self, progress: Progress) -> None:
        """Append the report; raises OutputError where the file cannot be opened."""
        file = self._file = self._file or self._open()
        file.write(json.dumps(asdict(progress)) + "\n")
        file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> IO[str]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write metrics to {self._path}: {error.strerror}") from error
