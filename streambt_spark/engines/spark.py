"""The Spark engine: a snapshot replayed, or a live topic, through the job to a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from streambt_spark.core.market.bars import Bars
from streambt_spark.engines.job import Job, claim, job_session, manifest, start, wait
from streambt_spark.engines.result import Result
from streambt_spark.errors import OutputError, SourceNotFound
from streambt_spark.spark.kafka import kafka_rows
from streambt_spark.spark.listener import Course, Progress, ProgressSink
from streambt_spark.spark.operator import packed
from streambt_spark.spark.replay import replay_packs
from streambt_spark.stores.lake import Snapshot, bars_to_batches, open_snapshot, write_snapshot
from streambt_spark.stores.ledger import has_ended, read_ledger
from streambt_spark.streams.kafka import require_topic
from streambt_spark.streams.pace import Pace
from streambt_spark.streams.packing import ROWS_PER_PACK
from streambt_spark.streams.replay import Replay

if TYPE_CHECKING:
    from streambt_spark.calendars import Calendar
    from streambt_spark.core.plan import Plan

BARS_AT_ONCE = 2_000_000
"""Bars in a batch where nothing else is asked for: enough to hide the cost of a batch (a second or
two), few enough to bound the memory."""


def replay(
    plan: Plan,
    bars: Bars | Snapshot,
    calendar: Calendar,
    job: Job,
    *,
    lake: Path,
    slices_per_batch: int | None = None,
    speed: float = 0.0,
    bars_per_second: float = 0.0,
    sinks: Sequence[ProgressSink] = (),
) -> Result:
    """Replay bars through the job until the last one, and return the result.

    Bars in memory are written as a snapshot to the folder `lake`, unless an earlier call did so. A
    checkpoint that it left is resumed; one of another strategy, other settings or other bars raises
    CheckpointMismatch, a ledger that is not the checkpoint's or a lake of other bars OutputError,
    a snapshot that was changed DataError, before anything is written. `speed` (event seconds a
    second) and `bars_per_second` pace the replay; `sinks` are told of its progress.
    """
    source = replace(
        _whole(bars, lake),
        symbols=None if plan.symbols == bars.symbols else plan.symbols,
        pace=Pace(speed, bars_per_second),
        slices_per_batch=slices_per_batch or max(1, BARS_AT_ONCE // len(plan.symbols)),
    )
    unwritten = bars if isinstance(bars, Bars) and not _holds(source) else None
    claim(job, manifest(plan, str(source.digest), job))
    if unwritten is not None:
        write_snapshot(bars_to_batches(unwritten), source.path, interval=unwritten.interval)
    course = Course(source.timeline(), source.pace) if sinks else None
    with job_session(job, (source.path,), sinks, course) as spark:
        rows_per_pack = min(job.arrow_batch, ROWS_PER_PACK)
        packs = replay_packs(spark, source, plan.symbols, rows_per_pack)
        # The records that Spark hands the operator in one Arrow batch are packs.
        by_pack = replace(job, arrow_batch=max(1, job.arrow_batch // rows_per_pack))
        query = start(spark, plan, packs, by_pack, trigger={"availableNow": True})
        wait(query)
    settings = {"engine": "spark", "ledger": job.ledger, "snapshot": source.path}
    return Result(plan, read_ledger(job.ledger), calendar, settings)


def live(
    plan: Plan,
    calendar: Calendar,
    job: Job,
    *,
    bootstrap: str,
    topic: str,
    starting_offsets: str = "earliest",
    max_offsets_per_batch: int | None = None,
    trigger_seconds: float = 0.0,
    sinks: Sequence[ProgressSink] = (),
) -> Result:
    """Run the job on a Kafka topic until every symbol has sent its end marker, or until Ctrl-C.

    The job is the replay's but for its source and its trigger, and so is the ledger. A batch starts
    every `trigger_seconds`, or as soon as the last one is done. A call with the same arguments
    resumes. After Ctrl-C the result so far is returned, its settings saying `stopped`. Raises
    StoreUnavailable where no broker answers, SourceNotFound where there is no such topic,
    CheckpointMismatch and OutputError as `replay` does.
    """
    require_topic(bootstrap, topic)
    claim(job, manifest(plan, f"kafka topic {topic}", job))
    settings: dict[str, Any] = {"engine": "spark", "ledger": job.ledger, "topic": topic}
    if not has_ended(job.ledger):
        end = _End()
        trigger = {"processingTime": f"{round(trigger_seconds * 1000)} milliseconds"}
        with job_session(job, (), [*sinks, end], kafka=True) as spark:
            rows = kafka_rows(
                spark,
                bootstrap,
                topic,
                starting_offsets=starting_offsets,
                max_offsets_per_batch=max_offsets_per_batch,
            )
            packs = packed(rows, plan.symbols, plan.interval)
            query = start(spark, plan, packs, job, trigger=trigger)
            try:
                wait(query, end.reached)
            except KeyboardInterrupt:
                settings["stopped"] = True
    return Result(plan, read_ledger(job.ledger), calendar, settings)


class _End:
    """A progress sink that sets `reached` once a batch has told that the stream has ended."""

    def __init__(self) -> None:
        self.reached = Event()

    def update(self, progress: Progress) -> None:
        """Look for the operator's `ended`."""
        if progress.ended:
            self.reached.set()

    def close(self) -> None:
        """Nothing is held."""


def _whole(bars: Bars | Snapshot, lake: Path) -> Replay:
    if isinstance(bars, Bars):
        return Replay(str(lake.absolute()), version=0, digest=bars.digest())
    bars.verify()
    return Replay(bars.path, version=bars.version, digest=bars.digest)


def _holds(source: Replay) -> bool:
    """Return whether the lake has the bars already; raises OutputError where it has others."""
    try:
        found = open_snapshot(source.path)
    except SourceNotFound:
        return False
    if found.digest != source.digest:
        raise OutputError(f"{source.path} holds the snapshot of other bars; choose another folder")
    found.verify()
    return True
