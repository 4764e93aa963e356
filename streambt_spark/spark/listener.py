"""What a running query reports, and a line of JSON for each batch."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
    StreamingQueryProgress,
)

from streambt_spark.errors import OutputError
from streambt_spark.streams.pace import Pace, Timeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

METRICS = "ledger"
"""The name of the observed metrics: last_ts (UTC µs), orders, fills, disabled, equity, ended."""

LAST_EVENTS_SECONDS = 10.0

LOG = logging.getLogger("streambt_spark")


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


@dataclass(frozen=True, slots=True)
class Notice:
    """What befalls a running job beside its batches, in one line; `time` is ISO 8601, UTC.

    `kind` is `restart` (the query starts again), `source_gone` and `source_back` (the broker does
    not answer, and does again), `sink` (a sink failed) or `report` (a batch has no whole report).
    """

    kind: str
    text: str
    time: str = field(default_factory=lambda: _iso(time.time_ns() // 1000))


class ProgressSink(Protocol):
    """Takes the progress of a run; quick, for the next batch's report waits for it."""

    def update(self, progress: Progress) -> None:
        """Take the report of one batch."""

    def close(self) -> None:
        """Finish; nothing comes any more."""


@runtime_checkable
class NoticeSink(Protocol):
    """A progress sink that takes notices too."""

    def notice(self, notice: Notice) -> None:
        """Take a notice."""


class Reporter:
    """Passes on to sinks what a job reports. It never raises: a sink that fails is left out."""

    def __init__(self, sinks: Sequence[ProgressSink]) -> None:
        self._sinks = list(sinks)
        self._guard = threading.RLock()

    def update(self, progress: Progress) -> None:
        """Pass on the report of a batch."""
        self._pass_on(lambda sink: sink.update(progress))

    def notice(self, notice: Notice) -> None:
        """Pass on a notice; where no sink takes any, it is a warning in this package's log."""
        takers = [sink for sink in self._sinks if isinstance(sink, NoticeSink)]
        if not takers:
            LOG.warning(notice.text)
        self._pass_on(lambda sink: sink.notice(notice) if sink in takers else None)

    def tell(self, kind: str, text: str) -> None:
        """Pass on a notice of this moment."""
        self.notice(Notice(kind, text))

    def close(self) -> None:
        """Close the sinks."""
        self._pass_on(lambda sink: sink.close())
        self._sinks.clear()

    def _pass_on(self, give: Callable[[Any], None]) -> None:
        with self._guard:
            for sink in tuple(self._sinks):
                try:
                    give(sink)
                # A full disk must not end the run, nor a closed pipe, of which rich makes an exit.
                except (Exception, SystemExit) as error:
                    if sink in self._sinks:
                        self._sinks.remove(sink)
                        self._tell_of(sink, error)

    def _tell_of(self, sink: ProgressSink, error: BaseException) -> None:
        text = f"reports no longer go to {type(sink).__name__}, for it failed: {line_of(error)}"
        self.notice(Notice("sink", text))


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
    reporter: Reporter,
    *,
    name: str,
    course: Course | None = None,
) -> Iterator[None]:
    """Report the query called `name` while the block runs.

    At its end the reports that are still on their way are waited for, unless the query is not at
    its end yet: then it has been left to stop by itself.
    """
    listener = Listener(reporter, name=name, course=course)
    spark.streams.addListener(listener)
    try:
        yield
        if not any(query.name == name for query in spark.streams.active):
            listener.wait(LAST_EVENTS_SECONDS)
    finally:
        with suppress(Exception):  # the JVM may be gone, and the listener with it
            spark.streams.removeListener(listener)


class Listener(StreamingQueryListener):
    """Turns Spark's events into reports."""

    def __init__(
        self, reporter: Reporter, *, name: str | None = None, course: Course | None = None
    ) -> None:
        self._reporter = reporter
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
        """Report a batch; where its report cannot be formed, that and what is sure."""
        if str(event.progress.runId) not in self._runs:
            return
        try:
            progress = progress_of(event.progress, self._course)
        except Exception as error:  # Spark would drop the event, and with it the stream's end
            text = f"batch {event.progress.batchId} has no whole report: {line_of(error)}"
            self._reporter.notice(Notice("report", text))
            progress = _least_of(event.progress)
        self._reporter.update(progress)

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


def progress_of(event: StreamingQueryProgress, course: Course | None = None) -> Progress:
    """Return what a batch's event says."""
    observed = _observed(event)
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


def line_of(error: BaseException) -> str:
    """Return what a notice says of an error."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _least_of(event: StreamingQueryProgress) -> Progress:
    """Return what is sure of a batch whose report cannot be formed."""
    ended = bool(_observed(event).get("ended"))
    return Progress(event.batchId, event.numInputRows, 0.0, 0.0, ended=ended)


def _observed(event: StreamingQueryProgress) -> dict[str, Any]:
    row = event.observedMetrics.get(METRICS)
    return row.asDict() if row is not None else {}


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
    """Return UTC microseconds as ISO 8601, also of a year that Python's own times do not have."""
    return str(np.datetime64(ts, "us")).removesuffix(".000000") + "Z"


def _finite(value: float | None) -> float:
    return float(value) if value is not None and np.isfinite(value) else 0.0


class MetricsFile:
    """A file with one JSON object a batch or notice, appended and flushed; a resumed run goes on.

    A notice has `kind`, `text` and `time`. The file is made with the first of them, so that a run
    that is refused leaves nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def update(self, progress: Progress) -> None:
        """Append the report; raises OutputError where the file cannot be written."""
        self._append(asdict(progress))

    def notice(self, notice: Notice) -> None:
        """Append the notice; raises OutputError where the file cannot be written."""
        self._append(asdict(notice))

    def close(self) -> None:
        """Close the file; raises OutputError where its end cannot be written."""
        file, self._file = self._file, None
        if file is not None:
            with self._writing():
                file.close()

    def _append(self, content: Mapping[str, Any]) -> None:
        with self._writing():
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("a", encoding="utf-8")
            self._file.write(json.dumps(content) + "\n")
            self._file.flush()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            file, self._file = self._file, None
            with suppress(OSError):  # what did not fit does not fit now
                if file is not None:
                    file.close()
            raise OutputError(f"cannot write metrics to {self._path}: {error.strerror}") from error
