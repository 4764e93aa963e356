"""The Spark engine: one streaming job, from a source of rows to the Delta ledger.

`start` builds the query; replay and live differ in the rows they give it and in the trigger.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark import cloudpickle

from streambt_spark.core import broker
from streambt_spark.core.allocation import FixedSize
from streambt_spark.core.bars import Bars
from streambt_spark.core.graph import digest_of
from streambt_spark.core.slices import Panel
from streambt_spark.engines.result import Result
from streambt_spark.errors import OutputError, RunError, SourceNotFound, StreambtError
from streambt_spark.spark.manifest import bind
from streambt_spark.spark.operator import ledger_stream
from streambt_spark.spark.pace import Pace
from streambt_spark.spark.replay import Replay, replay_rows
from streambt_spark.spark.session import session
from streambt_spark.spark.sinks import read_ledger, write_ledger
from streambt_spark.stores.lake import Snapshot, bars_to_batches, open_snapshot, write_snapshot

if TYPE_CHECKING:
    from types import ModuleType

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery
    from pyspark.sql.streaming.listener import StreamingQueryListener

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
    listeners: Sequence[StreamingQueryListener] = (),
) -> Result:
    """Replay bars through the job until the last one, and return the result.

    Bars that are no snapshot yet become one in `out`. A checkpoint that an earlier call left is
    resumed; one of another strategy, other settings or other bars raises CheckpointMismatch before
    anything is written. `speed` (event seconds a second) and `bars_per_second` pace the replay.
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
    compiling = Thread(target=warm_up, daemon=True)
    compiling.start()
    source = Replay(
        snapshot.path,
        version=snapshot.version,
        symbols=None if plan.symbols == snapshot.symbols else plan.symbols,
        pace=Pace(speed, bars_per_second),
        slices_per_batch=slices_per_batch or max(1, BARS_AT_ONCE // len(plan.symbols)),
    )
    addresses = (snapshot.path, job.ledger, job.checkpoint)
    with session(addresses=addresses, master=master, conf=job.conf()) as spark:
        for listener in listeners:
            spark.streams.addListener(listener)
        try:
            compiling.join()
            query = start(
                spark,
                plan,
                replay_rows(spark, source),
                job,
                trigger={"availableNow": True},
                modules=modules,
            )
            wait(query)
        finally:
            for listener in listeners:
                spark.streams.removeListener(listener)
    settings = {"engine": "spark", "ledger": job.ledger, "snapshot": snapshot.path}
    bars = data if isinstance(data, Bars) else None
    return Result(plan, read_ledger(job.ledger), calendar, bars, settings)


def manifest(plan: Plan, bars: str, job: Job) -> dict[str, Any]:
    """Return what a checkpoint is bound to: the strategy, the bars, the code and the layout.

    The run's id is the digest of it all; nothing of it enters the ledger.
    """
    bound = {
        "plan": plan.identity,
        "lanes": [lane.name for lane in plan.lanes],
        "symbols": list(plan.symbols),
        "interval": plan.interval,
        "bars": bars,
        "ledger": job.ledger,
        "partitions": job.partitions,
        "streambt_spark": version("streambt-spark"),
    }
    return {"run_id": digest_of(bound), **bound}


def wait(query: StreamingQuery) -> None:
    """Wait for the end of a query; stop it on Ctrl-C. Raises RunError where it fails."""
    try:
        query.awaitTermination()
    except KeyboardInterrupt:
        query.stop()
        raise
    except StreambtError:
        raise
    except Exception as error:
        raise RunError(f"the streaming job failed: {cause(error)}") from error


def cause(error: Exception) -> str:
    """Return the last line of a Spark failure that says something, in one line."""
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
