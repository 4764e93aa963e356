"""The Spark engine: a snapshot replayed, or a live topic, through the job to a result."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from signal import SIGINT
from threading import Event
from typing import TYPE_CHECKING, Any

from streambt_spark.core.market.bars import Bars
from streambt_spark.engines.binding import layout_of
from streambt_spark.engines.job import Job, claim, holding, job_session, run, start
from streambt_spark.engines.result import Result
from streambt_spark.engines.signals import noted
from streambt_spark.errors import CheckpointMismatch, LedgerDamaged, OutputError, SourceNotFound
from streambt_spark.spark.checkpoint import committed, offsets_of
from streambt_spark.spark.failures import lost
from streambt_spark.spark.kafka import kafka_rows
from streambt_spark.spark.listener import Course, Progress, ProgressSink, Reporter
from streambt_spark.spark.operator import packed
from streambt_spark.spark.source import replay_packs
from streambt_spark.stores.lake import Snapshot, bars_to_batches, open_snapshot, write_snapshot
from streambt_spark.stores.ledger import (
    check_numbers,
    has_ended,
    is_ended,
    ledger_exists,
    read_ledger,
    rows_read,
)
from streambt_spark.streams.kafka import topic_id
from streambt_spark.streams.pace import Pace
from streambt_spark.streams.packing import ROWS_PER_PACK
from streambt_spark.streams.replay import Replay
from streambt_spark.streams.watch import Watch

if TYPE_CHECKING:
    from streambt_spark.calendars import Calendar
    from streambt_spark.core.plan import Plan
    from streambt_spark.engines.signals import Stop
    from streambt_spark.spark.checkpoint import Moment
    from streambt_spark.stores.lease import Lease
    from streambt_spark.streams.pace import Timeline

CHECKED = ("lane", "seq", "kind", "reason", "count")
"""The columns that tell whether a ledger is whole."""
CUT = "the streaming query was stopped before its end"
"""So it is where another than this run stops it: Spark tells it from an end in no other way."""
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
    a snapshot that was changed DataError, before anything is written; RunLost where another stops
    the query, which can then be resumed. `speed` (event seconds a
    second) and `bars_per_second` pace the replay; `sinks` are told of its progress.
    """
    source = replace(
        _whole(bars, lake),
        symbols=None if plan.symbols == bars.symbols else plan.symbols,
        pace=Pace(speed, bars_per_second),
        slices_per_batch=slices_per_batch or max(1, BARS_AT_ONCE // len(plan.symbols)),
    )
    unwritten = bars if isinstance(bars, Bars) and not _holds(source) else None
    with holding(job) as held, noted() as stop:
        moment = claim(job, plan, str(source.digest))
        if unwritten is not None:
            write_snapshot(bars_to_batches(unwritten), source.path, interval=unwritten.interval)
        timeline = source.timeline()
        _require_at(job, moment, timeline)
        if not has_ended(job.ledger):
            _replay(plan, source, timeline, job, held, sinks, stop)
            if not (stop.asked or has_ended(job.ledger)):
                _require_read(job, len(timeline))
    _require_whole(job, int(timeline.bars_before[-1]))
    settings = {"engine": "spark", "ledger": job.ledger, "snapshot": source.path}
    return Result(plan, job.ledger, calendar, settings)


def _replay(
    plan: Plan,
    source: Replay,
    timeline: Timeline,
    job: Job,
    held: Lease,
    sinks: Sequence[ProgressSink],
    stop: Stop,
) -> None:
    course = Course(timeline, source.pace) if sinks else None
    with (
        closing(Reporter(sinks)) as reporter,
        job_session(job, (source.path,), reporter, stop, course) as spark,
    ):
        rows_per_pack = min(job.arrow_batch, ROWS_PER_PACK)
        packs = replay_packs(spark, source, plan.symbols, rows_per_pack)
        # The records that Spark hands the operator in one Arrow batch are packs.
        by_pack = replace(job, arrow_batch=max(1, job.arrow_batch // rows_per_pack))
        trigger = {"availableNow": True}
        run(
            job,
            held,
            lambda: start(spark, plan, packs, by_pack, trigger=trigger),
            stop,
            reporter.tell,
        )


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
    resumes. After Ctrl-C the result so far, where there is one, is returned, its settings saying
    `stopped`. The sinks are told when the broker stops answering, and when it answers again. Raises
    StoreUnavailable where no broker answers, SourceNotFound where there is no such topic,
    CheckpointMismatch, OutputError and RunLost as `replay` does; a topic that was deleted and made
    again is another one.
    """
    identity = topic_id(bootstrap, topic)
    _require_same_topic(job, topic, identity)
    settings: dict[str, Any] = {"engine": "spark", "ledger": job.ledger, "topic": topic}
    with holding(job) as held, noted() as stop:
        if claim(job, plan, f"kafka topic {topic}", topic_id=identity).written >= 0:
            check_numbers(read_ledger(job.ledger), job.ledger)
        if not has_ended(job.ledger):
            end = _End()
            reporter = Reporter([*sinks, end])
            watch = Watch(bootstrap, topic, identity, reporter.tell)
            trigger = {"processingTime": f"{round(trigger_seconds * 1000)} milliseconds"}
            with (
                closing(reporter),
                watch.going(end.reached.set),
                job_session(job, (), reporter, stop, kafka=True) as spark,
            ):
                rows = kafka_rows(
                    spark,
                    bootstrap,
                    topic,
                    starting_offsets=starting_offsets,
                    max_offsets_per_batch=max_offsets_per_batch,
                )
                packs = packed(rows, plan.symbols, plan.interval)
                run(
                    job,
                    held,
                    lambda: start(spark, plan, packs, job, trigger=trigger),
                    stop,
                    reporter.tell,
                    until=end.reached,
                )
            if watch.replaced.is_set():
                raise _replaced(job, topic)
            if forgiven(job, stop):
                settings["stopped"] = True
            if not stop.asked and not has_ended(job.ledger):
                raise lost(CUT)
    check_numbers(read_ledger(job.ledger, columns=CHECKED), job.ledger)
    return Result(plan, job.ledger, calendar, settings)


def forgiven(job: Job, stop: Stop) -> bool:
    """Take Ctrl-C for a live run's end where that leaves a result; return whether it did.

    Before the first batch there is no ledger, and the signal comes again.
    """
    if stop.signal != SIGINT or not ledger_exists(job.ledger):
        return False
    stop.forgive()
    return True


def _require_same_topic(job: Job, topic: str, identity: str | None) -> None:
    before = layout_of(job.checkpoint).get("topic_id")
    if before is not None and identity is not None and before != identity:
        raise _replaced(job, topic)


def _replaced(job: Job, topic: str) -> CheckpointMismatch:
    return CheckpointMismatch(
        f"topic {topic} was deleted and made again: its messages are not those that checkpoint "
        f"{job.checkpoint} goes on from; choose another --out to run on the new topic",
        address=job.checkpoint,
    )


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


def _require_at(job: Job, moment: Moment, timeline: Timeline) -> None:
    """Raise where the ledger is not what the batches up to the last one written make of the bars.

    The bars that it has read are those before the slice at which that batch ends.
    """
    if moment.written < 0:
        return
    ledger = read_ledger(job.ledger)  # all of it, for damage is to be told now and not later
    check_numbers(ledger, job.ledger)
    (offset,) = offsets_of(job.checkpoint, moment.written)
    read, expected = rows_read(ledger), int(timeline.bars_before[offset["slice"]])
    if read != expected:
        raise CheckpointMismatch(
            f"ledger {job.ledger} has read {read:,} bars, batch {moment.written} of checkpoint "
            f"{job.checkpoint} ends after {expected:,}: they are not of one moment; nothing was "
            "written; put both back as they were together, or delete both to start again",
            address=job.ledger,
        )


def _require_read(job: Job, slices: int) -> None:
    """Raise RunLost where the query of a replay has ended before it had read every slice."""
    batch = committed(job.checkpoint)
    if batch < 0 or offsets_of(job.checkpoint, batch)[0]["slice"] < slices:
        raise lost(CUT)


def _require_whole(job: Job, bars: int) -> None:
    """Raise LedgerDamaged where the ledger of a replay that is done does not tell of every bar."""
    ledger = read_ledger(job.ledger, columns=CHECKED)
    check_numbers(ledger, job.ledger)
    read = rows_read(ledger)
    if read != bars or not is_ended(ledger):
        found = f"it tells of {read:,} of {bars:,} bars" if read != bars else "it has no end"
        raise LedgerDamaged(
            f"the ledger {job.ledger} is not that of the whole replay: {found}; delete it and the "
            f"checkpoint {job.checkpoint}, and run again",
            address=job.ledger,
        )


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
