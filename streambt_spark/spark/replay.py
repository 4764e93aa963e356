"""The replay source: a snapshot as a stream of whole slices, as fast as its pace allows.

The offset is the number of slices given so far, so a restart needs nothing but Spark's offset log,
and a slice is never split over two batches. The clock decides when a slice is given, never what is
in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxFiles,
    SupportsTriggerAvailableNow,
)

from streambt_spark.core.bars import FIELDS
from streambt_spark.errors import ConfigError, DataError
from streambt_spark.spark import schemas
from streambt_spark.spark.memory import release_unused
from streambt_spark.spark.pace import Pace, Timeline, due_slices, seconds_until
from streambt_spark.spark.packing import packer
from streambt_spark.stores.lake import Snapshot, open_snapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

FORMAT = "replay"
_PACKED_FOR = "packed_for"
_MOST = "rows_per_pack"
TASK_BARS = 50_000
"""A read task is worth its cost from about this many bars on."""

_TIMESTAMP = pa.timestamp("us", tz="UTC")
_COLUMNS = [schemas.SYMBOL, schemas.TS, *FIELDS, schemas.SEQ]
_SCHEMA = pa.schema(
    [
        (schemas.SYMBOL, pa.string()),
        (schemas.TS, _TIMESTAMP),
        *((name, pa.float64()) for name in FIELDS),
        (schemas.SEQ, pa.int64()),
        pa.field(schemas.MARK, pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Replay:
    """What is replayed and how fast.

    `digest` is the snapshot's, where no other bars may stand in for it; it is then opened once in a
    process. `start` and `end` (UTC µs) bound the bars by start ≤ ts < end, `symbols` by name. A
    batch has all slices that are due, at most `slices_per_batch`, read by at most `partitions`
    tasks.
    Raises ConfigError where a number is out of range.
    """

    path: str
    version: int | None = None
    digest: str | None = None
    start: int | None = None
    end: int | None = None
    symbols: tuple[str, ...] | None = None
    pace: Pace = field(default_factory=Pace)
    slices_per_batch: int | None = None
    partitions: int = 2

    def __post_init__(self) -> None:
        if self.slices_per_batch is not None and self.slices_per_batch < 1:
            raise ConfigError(f"slices_per_batch is {self.slices_per_batch}; it must be 1 or more")
        if self.partitions < 1:
            raise ConfigError(f"partitions is {self.partitions}; it must be 1 or more")

    def options(self) -> dict[str, str]:
        """Return the same as options of the data source."""
        values = {
            "path": self.path,
            "version": self.version,
            "digest": self.digest,
            "start": self.start,
            "end": self.end,
            "symbols": None if self.symbols is None else json.dumps(self.symbols),
            "speed": self.pace.speed,
            "bars_per_second": self.pace.bars_per_second,
            "slices_per_batch": self.slices_per_batch,
            "partitions": self.partitions,
        }
        return {name: str(value) for name, value in values.items() if value is not None}

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Replay:
        """Return what `options()` said; raises ConfigError for a number that is none."""

        def whole(name: str) -> int | None:
            return int(options[name]) if name in options else None

        try:
            return cls(
                path=options["path"],
                version=whole("version"),
                digest=options.get("digest"),
                start=whole("start"),
                end=whole("end"),
                symbols=tuple(json.loads(options["symbols"])) if "symbols" in options else None,
                pace=Pace(float(options.get("speed", 0)), float(options.get("bars_per_second", 0))),
                slices_per_batch=whole("slices_per_batch"),
                partitions=int(options.get("partitions", 2)),
            )
        except KeyError as error:
            raise ConfigError("the replay source needs the option path") from error
        except ValueError as error:
            raise ConfigError(f"an option of the replay source cannot be read: {error}") from error

    def snapshot(self) -> Snapshot:
        """Return the snapshot. Raises DataError where it is not the one of the digest."""
        if self.digest is None:
            return open_snapshot(self.path, self.version)
        return _open(self.path, self.version, self.digest)

    def timeline(self) -> Timeline:
        """Return its slices; reads the snapshot's time column."""
        return Timeline.of(self.snapshot(), self.start, self.end, self.symbols)


@lru_cache(maxsize=8)
def _open(path: str, version: int | None, digest: str) -> Snapshot:
    snapshot = open_snapshot(path, version)
    if snapshot.digest != digest:
        raise DataError(f"snapshot {path} was replaced by other bars; run into another folder")
    return snapshot


def replay_rows(spark: SparkSession, replay: Replay) -> DataFrame:
    """Return the stream of a replay's rows (schema STREAM).

    With the trigger availableNow the query ends by itself after the last slice, paced or not.
    """
    return _load(spark, replay.options())


def replay_packs(
    spark: SparkSession, replay: Replay, symbols: Sequence[str], most: int
) -> DataFrame:
    """Return the same stream as packs (schema PACKS) of at most `most` rows, for these symbols.

    The tasks that read the bars pack them, so that the JVM never sees a single one.
    """
    packing = {_PACKED_FOR: json.dumps(list(symbols)), _MOST: str(most)}
    return _load(spark, {**replay.options(), **packing})


def _load(spark: SparkSession, options: Mapping[str, str]) -> DataFrame:
    spark.dataSource.register(ReplaySource)
    return spark.readStream.format(FORMAT).options(**options).load()


class ReplaySource(DataSource):
    """Spark's entry to the replay; its options are those of `Replay`."""

    @classmethod
    def name(cls) -> str:
        """Return the format's name."""
        return FORMAT

    def schema(self) -> StructType:
        """Return STREAM or, where the rows are packed, PACKS."""
        return schemas.PACKS if _PACKED_FOR in self.options else schemas.STREAM

    def streamReader(self, schema: StructType) -> ReplayReader:  # noqa: N802 - Spark's name
        """Return the reader of `schema`."""
        replay = Replay.of(self.options)
        if _PACKED_FOR not in self.options:
            return ReplayReader(replay)
        return PackingReader(
            replay, json.loads(self.options[_PACKED_FOR]), int(self.options[_MOST])
        )


@dataclass(frozen=True, slots=True)
class Task(InputPartition):
    """The bars with start ≤ ts < end, and after them the marks, each at time `end` - 1."""

    start: int
    end: int
    marks: tuple[str, ...] = ()


class ReplayReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Gives whole slices; lives once on the driver for the offsets, and in each task to read."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self._clock: Clock | None = None

    def initialOffset(self) -> dict[str, int]:  # noqa: N802
        """Return the offset before the first slice."""
        return {"slice": 0}

    def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802
        """Return slices_per_batch: a slice is to this source what a file is to others."""
        limit = self.replay.slices_per_batch
        return ReadAllAvailable() if limit is None else ReadMaxFiles(limit)

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802
        """Do nothing: a snapshot never grows."""

    def latestOffset(self, start: dict[str, int], limit: ReadLimit) -> dict[str, int]:  # noqa: N802
        """Return the offset after the slices due, waiting until there is one; `start` at the end.

        It waits, because under availableNow an answer without a new slice would end the query.
        """
        clock, first = self._clock_from(start["slice"]), start["slice"]
        if first >= len(clock.timeline):
            return {"slice": first}
        due = clock.wait_for(first)
        most = first + limit.max_files if isinstance(limit, ReadMaxFiles) else due
        return {"slice": min(due, most)}

    def reportLatestOffset(self) -> dict[str, int] | None:  # noqa: N802
        """Return the slices due by now, for the lag in the query's progress."""
        return None if self._clock is None else {"slice": self._clock.due()}

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> Sequence[Task]:
        """Return the tasks of a batch: ranges of time with about the same number of bars."""
        first, last = start["slice"], end["slice"]
        if first >= last:
            return []
        timeline = self._clock_from(first).timeline
        bars = int(timeline.bars_before[last] - timeline.bars_before[first])
        parts = min(self.replay.partitions, -(-bars // TASK_BARS))
        ranges = timeline.split(first, last, parts)
        ended = (schemas.END,) if last == len(timeline) else ()
        return [
            Task(
                int(timeline.ts[a]),
                int(timeline.ts[b - 1]) + 1,
                (schemas.HEARTBEAT, *ended) if b == last else (),
            )
            for a, b in ranges
        ]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a task; keeps no state."""
        assert isinstance(partition, Task)
        snapshot, symbols = self.replay.snapshot(), self.replay.symbols
        for batch in snapshot.read(partition.start, partition.end, symbols, _COLUMNS):
            marks = _bar_marks(batch.num_rows)
            yield pa.RecordBatch.from_arrays([*batch.columns, marks], schema=_SCHEMA)
        if partition.marks:
            yield _marks(partition.end - 1, partition.marks)

    def _clock_from(self, first: int) -> Clock:
        if self._clock is None:
            timeline = self.replay.timeline()
            self._clock = Clock(timeline, self.replay.pace, first)
        return self._clock


class PackingReader(ReplayReader):
    """Gives the same slices as packs."""

    def __init__(self, replay: Replay, symbols: Sequence[str], most: int) -> None:
        super().__init__(replay)
        self._symbols, self._most = tuple(symbols), most

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Yield the packs of a task."""
        packs = packer(self._symbols, self.replay.snapshot().interval, self._most)
        yield from packs(super().read(partition))
        release_unused()


class Clock:
    """The pace of one run: slice `first` is due at once, the others after it by the pace.

    A resumed run starts a new clock at the slice it resumes with.
    """

    def __init__(self, timeline: Timeline, pace: Pace, first: int) -> None:
        self.timeline = timeline
        self._due_at = pace.due_at(timeline)
        self._first = first
        self._started = time.monotonic()

    def due(self) -> int:
        """Return how many slices are due by now."""
        return due_slices(self._due_at, self._elapsed(), self._first)

    def wait_for(self, index: int) -> int:
        """Wait until slice `index` is due and return how many are."""
        while (due := self.due()) <= index:
            time.sleep(seconds_until(self._due_at, index, self._elapsed(), self._first))
        return due

    def _elapsed(self) -> float:
        return time.monotonic() - self._started


@lru_cache(maxsize=4)
def _bar_marks(rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(schemas.BAR, pa.string()), rows)


def _marks(ts: int, marks: Collection[str]) -> pa.RecordBatch:
    rows = [{schemas.TS: ts, schemas.MARK: mark} for mark in marks]
    return pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)
