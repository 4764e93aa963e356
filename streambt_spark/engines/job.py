"""The streaming job: what a plan, a stream of bars and two addresses make, and how it is watched.

Replay and live are this job; they differ in the rows they give it and in the trigger.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from streambt_spark.core.compilation import compile_kernels
from streambt_spark.core.identity import digest_of
from streambt_spark.core.plan import blocks_of
from streambt_spark.engines import binding
from streambt_spark.engines.binding import RUN_ID, Mark
from streambt_spark.engines.signals import Stop
from streambt_spark.errors import OutOfSpace, RunLost, StateError, StoreUnavailable, StreambtError
from streambt_spark.spark import jvm
from streambt_spark.spark.failures import AGAIN, failure, lost, of_no_folder
from streambt_spark.spark.listener import Course, Reporter, following
from streambt_spark.spark.operator import ledger_stream
from streambt_spark.spark.session import in_use, session
from streambt_spark.spark.sinks import DEFAULTS, write_ledger
from streambt_spark.stores.lease import Lease, lease
from streambt_spark.stores.ledger import has_ended
from streambt_spark.stores.location import Location, run_folder

if TYPE_CHECKING:
    from types import ModuleType

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from streambt_spark.core.plan import Plan
    from streambt_spark.spark.checkpoint import Moment

RESTARTS = 5
_NEARLY_FULL = 2**20
FIRST_WAIT = 1.0
"""Seconds before a query that failed is started again."""
STOPS_IN = 5.0
"""Seconds that a query may take to stop. Kafka's client waits a minute for a broker that is cut
off, and a scheduler kills what is still there half a minute after SIGTERM."""

_starting = Lock()


@dataclass(frozen=True, slots=True)
class Job:
    """Where a job writes and how Spark runs it.

    `folder` is where the run keeps all that is given no other place. `ledger` and `checkpoint` are
    addresses of a folder or s3a://; the checkpoint should be on a file system with an atomic
    rename. `blocks` is the number of parts that the lanes are split into
    and that can run side by side, `partitions` the number of state partitions (by default one for
    each block); the checkpoint fixes both. `arrow_batch` is the rows of one Arrow batch, `master`
    Spark's, where none is configured. `modules` are those of the strategy that a worker cannot
    import: their code is sent along.
    """

    folder: str
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
        """Return the job whose ledger and checkpoint are in `out` unless given.

        Raises ConfigError where `out` is no folder of this machine.
        """
        folder = run_folder(out)
        return cls(
            str(folder),
            Location.of(ledger or folder / "ledger").text,
            Location.of(checkpoint or folder / "checkpoint").text,
            blocks or 1,
            shuffle_partitions or blocks or 1,
            arrow_batch or 100_000,
            master,
            tuple(modules),
        )

    @property
    def query(self) -> str:
        """The name of its query: no other of the session has it while the ledger is held."""
        return f"streambt-{digest_of({'ledger': self.ledger})}"

    def conf(self) -> dict[str, str]:
        """Return the session settings that the job needs."""
        return {
            **DEFAULTS,
            "spark.sql.shuffle.partitions": str(self.partitions),
            "spark.sql.execution.arrow.maxRecordsPerBatch": str(self.arrow_batch),
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        }

    def layout(self) -> dict[str, Any]:
        """Return what a checkpoint fixes besides the run; a folder can be moved with all in it."""
        inside = self.ledger.startswith(f"{self.folder}/")
        return {
            "ledger": self.ledger[len(self.folder) + 1 :] if inside else self.ledger,
            "blocks": self.blocks,
            "partitions": self.partitions,
        }


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder for a run that is given none; it goes with the block, and all in it."""
    with TemporaryDirectory(prefix="streambt-", ignore_cleanup_errors=True) as folder:
        try:
            yield Path(folder)
        except StreambtError as error:
            raise of_no_folder(error) from error


def start(
    spark: SparkSession,
    plan: Plan,
    packs: DataFrame,
    job: Job,
    *,
    trigger: Mapping[str, Any],
) -> StreamingQuery:
    """Start the job over a stream of packs (schema PACKS), whatever it comes from."""
    ledger = ledger_stream(packs, plan, blocks_of(plan, job.blocks), job.modules)
    with _settings(spark, job.conf()):
        return write_ledger(
            ledger, job.ledger, job.checkpoint, trigger=dict(trigger), name=job.query
        )


@contextmanager
def holding(job: Job) -> Iterator[Lease]:
    """Hold the job's places; raises StoreConflict where another run works in one of them."""
    with lease(job.folder, job.ledger, job.checkpoint) as held:
        yield held


def claim(job: Job, plan: Plan, bars: str, **layout: Any) -> Moment:
    """Make the job's places the run's, and return how far it is.

    `bars` is the digest of what it reads, or its name; `layout` is what its checkpoint fixes
    besides the job's own. Raises CheckpointMismatch, OutputError, StateError or StoreError, before
    anything is written, where a place is another run's, is damaged, or is not of one moment with
    the others.
    """
    record = binding.manifest(plan, bars, {**job.layout(), **layout})
    mark = Mark(record[RUN_ID], "spark", job.folder, job.ledger, job.checkpoint)
    return binding.claim(mark, record)


def run(
    job: Job,
    held: Lease,
    begin: Callable[[], StreamingQuery],
    stop: Stop,
    tell: Callable[[str, str], None],
    until: Event | None = None,
) -> None:
    """Run a query to its end, or until `until` is set or a signal is noted.

    A query that fails for what may pass, a worker that was killed or a store that does not answer,
    is started again and goes on from its checkpoint: RESTARTS times in a row without a batch, each
    after twice the wait of the last. `tell` is told of each. It is not where the stream has ended:
    the ledger takes no batch that it has, so the query would never tell. Raises StoreConflict,
    the query stopped, where the places that are `held` may be another run's by now.
    """
    restarts = 0
    while not stop.asked:
        query = None
        try:
            with translated(job):
                held.check()
                if restarts and has_ended(job.ledger):
                    return
                query = begin()
                _wait(query, held, stop, until)
            return
        except (RunLost, StoreUnavailable) as error:
            restarts = 0 if query is not None and _has_advanced(query) else restarts
            if restarts == RESTARTS or stop.asked or _has_ended():
                raise
            seconds, restarts = FIRST_WAIT * 2**restarts, restarts + 1
            reason = str(error).removesuffix(f"; {AGAIN}")
            again = f"the query starts again in {seconds:g} s ({restarts} of {RESTARTS})"
            tell("restart", f"{reason}; {again}")
            if stop.wait(seconds):
                return


def _wait(query: StreamingQuery, held: Lease, stop: Stop, until: Event | None) -> None:
    try:
        while not query.awaitTermination(1):
            held.check()
            if stop.asked and (started := jvm.current()) is not None:
                started.hush()
            asked = stop.asked or (until is not None and until.is_set())
            if asked and not _is_stopped(query):
                return
    except BaseException:
        _is_stopped(query)
        raise


def _is_stopped(query: StreamingQuery) -> bool:
    """Stop a query; return whether it has ended in time. If not, it is left to itself: it was
    interrupted, and waits for what it has read from to let it go.
    """

    def ask() -> None:
        with suppress(Exception):  # it has failed already, or its JVM is gone
            query.stop()

    stopping = Thread(target=ask, daemon=True)
    stopping.start()
    stopping.join(STOPS_IN)
    return not stopping.is_alive()


def _has_advanced(query: StreamingQuery) -> bool:
    with suppress(Exception):
        return query.lastProgress is not None
    return False


def _has_ended() -> bool:
    started = jvm.current()
    return started is not None and started.ended() is not None


@contextmanager
def translated(job: Job) -> Iterator[None]:
    """Raise what Spark, the way to its JVM or a Python worker raises as an error of ours."""
    try:
        yield
    except (PySparkException, Py4JError, ConnectionError, EOFError) as error:
        started = jvm.current()
        ended = None if started is None else started.ended()
        if ended is not None:
            raise lost(ended) from error
        made = failure(error)
        if isinstance(made, StateError) and not made.address:
            made = made.within(f"checkpoint {job.checkpoint}", address=job.checkpoint)
        if isinstance(made, OutOfSpace) and (full := _full_place(job)):
            made = made.within(full, address=full)
        raise made from error


def _full_place(job: Job) -> str | None:
    """Return the local place of the job's whose disk is full."""
    for place in (job.ledger, job.checkpoint, tempfile.gettempdir()):
        with suppress(OSError):
            if disk_usage(place).free < _NEARLY_FULL:
                return place
    return None


@contextmanager
def _settings(spark: SparkSession, conf: Mapping[str, str]) -> Iterator[None]:
    """Set the session's settings while a query starts, which keeps them; then set them back."""
    with _starting:  # they are of the session, which other threads may start jobs in
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
    reporter: Reporter,
    stop: Stop,
    course: Course | None = None,
    *,
    kafka: bool = False,
) -> Iterator[SparkSession]:
    """Yield a session whose batches are reported; the kernels compile while it starts."""
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
        translated(job),
        following(spark, reporter, name=job.query, course=course),
    ):
        stop.listen()
        compiling.join()
        yield spark
    if stop.asked and (started := jvm.current()) is not None and not in_use():
        started.hurry()
