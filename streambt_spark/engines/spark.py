"""The Spark engine: one streaming job, from a source of rows to the Delta ledger.

`start` builds the query; replay and live differ in the rows they give it and in the trigger.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark import cloudpickle
from pyspark.errors import StreamingQueryException

from streambt_spark.core import broker
from streambt_spark.core.allocation import FixedSize
from streambt_spark.core.bars import Bars
from streambt_spark.core.graph import digest_of
from streambt_spark.core.slices import Panel
from streambt_spark.engines.result import Result
from streambt_spark.errors import OutputError, RunError, SourceNotFound
from streambt_spark.spark.kafka import kafka_rows, require_topic
from streambt_spark.spark.listener import Course, Progress, ProgressSink, following
from streambt_spark.spark.manifest import bind
from streambt_spark.spark.operator import ledger_stream
from streambt_spark.spark.pace import Pace
from streambt_spark.spark.replay import Replay, replay_rows
from streambt_spark.spark.session import session
from streambt_spark.spark.sinks import has_ended, read_ledger, write_ledger
from streambt_spark.stores.lake import Snapshot, bars_to_batches, open_snapshot, write_snapshot

if TYPE_CHECKING:
    from types import ModuleType

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from streambt_spark.calendars import Calendar
    from streambt_spark.core.plan import Plan

BARS_AT_ONCE = 1_000_000
"""Bars in a batch where nothing else is asked for: enough to hide the cost of a batch (a second or
two), few enough to bound the memory."""


@dataclass(frozen=True, slots=True)
class Job:
    """Where a job writes and how Spark runs it.

    `ledger` and `checkpoint` are addresses of a folder or s3a://; the checkpoint should be on a
    file system with an atomic rename. `partitions` is the number of state partitions, which the
    checkpoint fixes (default: one for each block), `arrow_batch` the rows of one Arrow batch.
    """

    ledger: str
    checkpoint: str
    partitions: int = 1
    arrow_batch: int = 100_000

    @classmethod
    def in_folder(
        cls,
        out: str | Path,
        *,
        ledger: str | None = None,
        checkpoint: str | None = None,
        partitions: int | None = None,
        arrow_batch: int | None = None,
    ) -> Job:
        """Return the job whose ledger and checkpoint are in `out` unless given."""
        return cls(
            ledger or str(Path(out).absolute() / "ledger"),
            checkpoint or str(Path(out).absolute() / "checkpoint"),
            partitions or 1,
            arrow_batch or 100_000,
        )

    def conf(self) -> dict[str, str]:
        """Return the session settings that the job needs."""
        return {
            "spark.sql.shuffle.partitions": str(self.partitions),
            "spark.sql.execution.arrow.maxRecordsPerBatch": str(self.arrow_batch),
        }


def start(
    spark: SparkSession,
    plan: Plan,
    rows: DataFrame,
    job: Job,
    *,
    trigger: Mapping[str, Any],
    modules: Sequence[ModuleType] = (),
) -> StreamingQuery:
    """Start the job over a stream of rows (schema STREAM), whatever it comes from.

    `modules` are those of the strategy that a worker cannot import: their code is sent along.
    """
    for name, value in job.conf().items():
        spark.conf.set(name, value)
    for module in modules:
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    ledger = ledger_stream(rows, plan)
    name = f"streambt-{plan.identity}"
    return write_ledger(ledger, job.ledger, job.checkpoint, trigger=dict(trigger), name=name)


def replay(
    plan: Plan,
    data: Bars | Snapshot,
    calendar: Calendar,
    *,
    out: str | Path | None = None,
    ledger: str | None = None,
    checkpoint: str | None = None,
    slices_per_batch: int | None = None,
    speed: float = 0.0,
    bars_per_second: float = 0.0,
    shuffle_partitions: int | None = None,
    arrow_batch: int | None = None,
    master: str | None = None,
    modules: Sequence[ModuleType] = (),
    sinks: Sequence[ProgressSink] = (),
) -> Result:
    """Replay bars through the job until the last one, and return the result.

    Bars that are no snapshot yet become one in `out`. A checkpoint that an earlier call left is
    resumed; one of another strategy, other settings or other bars raises CheckpointMismatch before
    anything is written. `speed` (event seconds a second) and `bars_per_second` pace the replay;
    `sinks` are told of its progress.
    """
    folder = Path(out) if out else Path(tempfile.mkdtemp(prefix="streambt-"))
    job = Job.in_folder(
        folder,
        ledger=ledger,
        checkpoint=checkpoint,
        partitions=shuffle_partitions,
        arrow_batch=arrow_batch,
    )
    snapshot = data if isinstance(data, Snapshot) else _snapshot(data, folder / "snapshot")
    bind(job.checkpoint, manifest(plan, snapshot.digest, job))
    source = Replay(
        snapshot.path,
        version=snapshot.version,
        symbols=None if plan.symbols == snapshot.symbols else plan.symbols,
        pace=Pace(speed, bars_per_second),
        slices_per_batch=slices_per_batch or max(1, BARS_AT_ONCE // len(plan.symbols)),
    )
    course = Course(source.timeline(), source.pace) if sinks else None
    with _session(job, (snapshot.path,), sinks, course, master=master) as spark:
        rows = replay_rows(spark, source)
        query = start(spark, plan, rows, job, trigger={"availableNow": True}, modules=modules)
        wait(query)
    settings = {"engine": "spark", "ledger": job.ledger, "snapshot": snapshot.path}
    bars = data if isinstance(data, Bars) else None
    return Result(plan, read_ledger(job.ledger), calendar, bars, settings)


def live(
    plan: Plan,
    calendar: Calendar,
    *,
    bootstrap: str,
    topic: str,
    out: str | Path,
    ledger: str | None = None,
    checkpoint: str | None = None,
    starting_offsets: str = "earliest",
    max_offsets_per_batch: int | None = None,
    trigger_seconds: float = 0.0,
    shuffle_partitions: int | None = None,
    arrow_batch: int | None = None,
    master: str | None = None,
    modules: Sequence[ModuleType] = (),
    sinks: Sequence[ProgressSink] = (),
) -> Result:
    """Run the job on a Kafka topic until every symbol has sent its end marker, or until Ctrl-C.

    The job is the replay's but for its source and its trigger, and so is the ledger. A batch starts
    every `trigger_seconds`, or as soon as the last one is done. A call with the same arguments
    resumes. After Ctrl-C the result so far is returned, its settings saying `stopped`. Raises
    StoreUnavailable where no broker answers, SourceNotFound where there is no such topic,
    CheckpointMismatch as `replay` does.
    """
    job = Job.in_folder(
        out,
        ledger=ledger,
        checkpoint=checkpoint,
        partitions=shuffle_partitions,
        arrow_batch=arrow_batch,
    )
    require_topic(bootstrap, topic)
    bind(job.checkpoint, manifest(plan, f"kafka topic {topic}", job))
    settings: dict[str, Any] = {"engine": "spark", "ledger": job.ledger, "topic": topic}
    if not has_ended(job.ledger):
        end = _End()
        trigger = {"processingTime": f"{round(trigger_seconds * 1000)} milliseconds"}
        with _session(job, (), [*sinks, end], kafka=True, master=master) as spark:
            rows = kafka_rows(
                spark,
                bootstrap,
                topic,
                starting_offsets=starting_offsets,
                max_offsets_per_batch=max_offsets_per_batch,
            )
            query = start(spark, plan, rows, job, trigger=trigger, modules=modules)
            try:
                wait(query, end.reached)
            except KeyboardInterrupt:
                settings["stopped"] = True
    return Result(plan, read_ledger(job.ledger), calendar, None, settings)


@contextmanager
def _session(
    job: Job,
    sources: Sequence[str],
    sinks: Sequence[ProgressSink],
    course: Course | None = None,
    *,
    kafka: bool = False,
    master: str | None = None,
) -> Iterator[SparkSession]:
    """Yield a session that reports to `sinks`; the kernels compile while it starts."""
    compiling = Thread(target=warm_up, daemon=True)
    compiling.start()
    addresses = (*sources, job.ledger, job.checkpoint)
    with (
        session(addresses=addresses, kafka=kafka, master=master, conf=job.conf()) as spark,
        following(spark, sinks, course=course),
    ):
        compiling.join()
        yield spark


def manifest(plan: Plan, bars: str, job: Job) -> dict[str, Any]:
    """Return what a checkpoint is bound to: the strategy, the bars, the code and the layout.

    The run's id is the digest of it all; nothing of it enters the ledger.
    """
    bound = {
        "plan": plan.identity,
        "nodes": [node.identity for node in plan.nodes],
        "lanes": [
            {
                "name": lane.name,
                "allocation": getattr(lane.allocation, "__qualname__", repr(lane.allocation)),
                "broker": asdict(lane.broker),
            }
            for lane in plan.lanes
        ],
        "symbols": list(plan.symbols),
        "interval": plan.interval,
        "bars": bars,
        "ledger": job.ledger,
        "partitions": job.partitions,
        "streambt_spark": version("streambt-spark"),
    }
    return {"run_id": digest_of(bound), **bound}


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


def wait(query: StreamingQuery, until: Event | None = None) -> None:
    """Wait for the end of a query, or stop it once `until` is set, or on Ctrl-C.

    Raises RunError where the query fails.
    """
    try:
        while not query.awaitTermination(1):
            if until is not None and until.is_set():
                query.stop()
    except StreamingQueryException as error:
        raise RunError(f"the streaming job failed: {cause(error)}") from error
    finally:
        if query.isActive:
            query.stop()


def cause(error: Exception) -> str:
    """Return what a Spark failure comes down to, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if ".errors." in line or line.split(":")[0].endswith("Error")]
    return (told or lines or [type(error).__name__])[-1][:500]


def _snapshot(bars: Bars, folder: Path) -> Snapshot:
    """Return the snapshot of bars in a folder; the one that an earlier call of the run left."""
    try:
        found = open_snapshot(str(folder))
    except SourceNotFound:
        return write_snapshot(bars_to_batches(bars), str(folder), interval=bars.interval)
    if found.digest != bars.digest():
        raise OutputError(f"{folder} holds the snapshot of other bars; choose another folder")
    return found


def warm_up() -> None:
    """Compile the kernels into their cache, so that the workers load them."""
    one = np.ones((1, 1))
    terms = broker.terms(broker.Broker(), FixedSize(1), ("A",))
    panel = Panel(("A",), np.zeros(1, np.int64), np.ones((1, 1), bool), one, one, one, one, one)
    broker.step(terms, broker.open_account(1), panel, one)
