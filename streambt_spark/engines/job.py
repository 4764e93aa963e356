"""The streaming job: what a plan, a stream of bars and two addresses make, and how it is watched.

Replay and live are this job; they differ in the rows they give it and in the trigger.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread
from typing import TYPE_CHECKING, Any

from pyspark import cloudpickle
from pyspark.errors import StreamingQueryException

from streambt_spark.core.broker.trade import compile_kernels
from streambt_spark.core.identity import digest_of
from streambt_spark.core.plan import blocks_of
from streambt_spark.errors import OutputError, RunError
from streambt_spark.spark.listener import Course, ProgressSink, following
from streambt_spark.spark.manifest import NAME as MANIFEST
from streambt_spark.spark.manifest import bind
from streambt_spark.spark.operator import ledger_stream
from streambt_spark.spark.session import session
from streambt_spark.spark.sinks import write_ledger
from streambt_spark.stores.ledger import ledger_exists
from streambt_spark.stores.location import Location

if TYPE_CHECKING:
    from types import ModuleType

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from streambt_spark.core.plan import Plan


@dataclass(frozen=True, slots=True)
class Job:
    """Where a job writes and how Spark runs it.

    `ledger` and `checkpoint` are addresses of a folder or s3a://; the checkpoint should be on a
    file system with an atomic rename. `blocks` is the number of parts that the lanes are split into
    and that can run side by side, `partitions` the number of state partitions (by default one for
    each block); the checkpoint fixes both. `arrow_batch` is the rows of one Arrow batch, `master`
    Spark's, where none is configured. `modules` are those of the strategy that a worker cannot
    import: their code is sent along.
    """

    ledger: str
    checkpoint: str
    blocks: int = 1
    partitions: int = 1
    arrow_batch: int = 100_000
    master: str | None = None
    modules: tuple[ModuleType, ...] = ()

    @classmethod
    def in_folder(
        cls,
        out: str | Path,
        *,
        ledger: str | None = None,
        checkpoint: str | None = None,
        blocks: int | None = None,
        shuffle_partitions: int | None = None,
        arrow_batch: int | None = None,
        master: str | None = None,
        modules: Sequence[ModuleType] = (),
    ) -> Job:
        """Return the job whose ledger and checkpoint are in `out` unless given."""
        return cls(
            Location.of(ledger or Path(out, "ledger")).text,
            Location.of(checkpoint or Path(out, "checkpoint")).text,
            blocks or 1,
            shuffle_partitions or blocks or 1,
            arrow_batch or 100_000,
            master,
            tuple(modules),
        )

    def conf(self) -> dict[str, str]:
        """Return the session settings that the job needs."""
        return {
            "spark.sql.shuffle.partitions": str(self.partitions),
            "spark.sql.execution.arrow.maxRecordsPerBatch": str(self.arrow_batch),
            "spark.sql.session.timeZone": "UTC",
        }


def start(
    spark: SparkSession,
    plan: Plan,
    packs: DataFrame,
    job: Job,
    *,
    trigger: Mapping[str, Any],
) -> StreamingQuery:
    """Start the job over a stream of packs (schema PACKS), whatever it comes from."""
    for module in job.modules:
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    ledger = ledger_stream(packs, plan, blocks_of(plan, job.blocks))
    name = f"streambt-{plan.identity}"
    with _settings(spark, job.conf()):
        return write_ledger(ledger, job.ledger, job.checkpoint, trigger=dict(trigger), name=name)


def claim(job: Job, bound: Mapping[str, Any]) -> None:
    """Bind the job's checkpoint to its run, and see that the ledger belongs to the checkpoint.

    The two are only right together: with a new checkpoint a ledger would get its events again, and
    with a new ledger a checkpoint would leave out what it has done. Raises CheckpointMismatch or
    OutputError before anything is written.
    """
    checkpoint = Location.of(job.checkpoint)
    known = MANIFEST in checkpoint.names()
    if known:
        bind(job.checkpoint, bound)
    exists = ledger_exists(job.ledger)
    if exists and not known:
        raise OutputError(
            f"ledger {job.ledger} holds events, but checkpoint {job.checkpoint} is new, so they "
            "are another run's; choose another --out or --ledger, or delete the ledger"
        )
    if not exists and (checkpoint / "commits").names():
        raise OutputError(
            f"checkpoint {job.checkpoint} has written to ledger {job.ledger}, which is gone; "
            "choose another --out, or delete the checkpoint to start again"
        )
    if not known:
        bind(job.checkpoint, bound)


@contextmanager
def _settings(spark: SparkSession, conf: Mapping[str, str]) -> Iterator[None]:
    """Set the session's settings while a query starts, which keeps them; then set them back."""
    before = {name: spark.conf.get(name, None) for name in conf}
    for name, value in conf.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, was in before.items():
            spark.conf.unset(name) if was is None else spark.conf.set(name, was)


@contextmanager
def job_session(
    job: Job,
    sources: Sequence[str],
    sinks: Sequence[ProgressSink],
    course: Course | None = None,
    *,
    kafka: bool = False,
) -> Iterator[SparkSession]:
    """Yield a session that reports to `sinks`; the kernels compile while it starts."""
    compiling = Thread(target=compile_kernels, daemon=True)
    compiling.start()
    with (
        session(
            addresses=(*sources, job.ledger, job.checkpoint),
            kafka=kafka,
            master=job.master,
            conf=job.conf(),
            keep_classes=True,
        ) as spark,
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
        "blocks": job.blocks,
        "partitions": job.partitions,
        "streambt_spark": version("streambt-spark"),
    }
    return {"run_id": digest_of(bound), **bound}


def wait(query: StreamingQuery, until: Event | None = None) -> None:
    """Wait for the end of a query, or stop it once `until` is set, or on Ctrl-C.

    Raises RunError where the query fails, KeyboardInterrupt once it has stopped after Ctrl-C.
    """
    try:
        with _interrupt() as pressed:
            while not query.awaitTermination(1):
                if pressed.is_set() or (until is not None and until.is_set()):
                    query.stop()
    except StreamingQueryException as error:
        raise RunError(f"the streaming job failed: {cause(error)}") from error
    finally:
        if query.isActive:
            query.stop()
    if pressed.is_set():
        raise KeyboardInterrupt


@contextmanager
def _interrupt() -> Iterator[Event]:
    """Yield an event that Ctrl-C sets.

    An exception in the midst of a call to the JVM would break the connection that stops the query.
    """
    pressed = Event()
    if current_thread() is not main_thread():  # only the main thread is told of signals
        yield pressed
        return
    before = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def cause(error: Exception) -> str:
    """Return what a Spark failure comes down to, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if ".errors." in line or line.split(":")[0].endswith("Error")]
    return (told or lines or [type(error).__name__])[-1][:500]
