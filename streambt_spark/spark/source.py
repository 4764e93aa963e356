"""The replay source: a snapshot as a stream of whole slices, as fast as its pace allows.

The offset is the number of slices given so far, so a restart needs nothing but Spark's offset log,
and a slice is never split over two batches. The clock decides when a slice is given, never what is
in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

from streambt_spark.core.market.rows import MARKS, RowKind
from streambt_spark.spark import schemas
from streambt_spark.spark.memory import release_unused
from streambt_spark.streams import schema
from streambt_spark.streams.pace import Pace, Timeline, due_slices, seconds_until
from streambt_spark.streams.packing import packer
from streambt_spark.streams.replay import Replay

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

FORMAT = "replay"
_PACKED_FOR = "packed_for"
_MOST = "rows_per_pack"
TASK_BARS = 50_000
"""A read task is worth its cost from about this many bars on."""

_COLUMNS = [name for name in schema.REPLAY.names if name != schema.KIND]
_HEARTBEAT, _END = (schema.NAMES[kind] for kind in MARKS)


def replay_rows(spark: SparkSession, replay: Replay) -> DataFrame:
    """Return the stream of a replay's rows (schema REPLAY): their order is their time.

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
        """Return REPLAY or, where the rows are packed, PACKS."""
        return schemas.PACKS if _PACKED_FOR in self.options else schemas.REPLAY

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
        ended = (_END,) if last == len(timeline) else ()
        return [
            Task(
                int(timeline.ts[a]),
                int(timeline.ts[b - 1]) + 1,
                (_HEARTBEAT, *ended) if b == last else (),
            )
            for a, b in ranges
        ]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a task; keeps no state."""
        assert isinstance(partition, Task)
        snapshot, symbols = self.replay.snapshot(), self.replay.symbols
        for batch in snapshot.read(partition.start, partition.end, symbols, _COLUMNS):
            columns = [batch[name] for name in _COLUMNS]
            columns.insert(schema.REPLAY.names.index(schema.KIND), _bars(batch.num_rows))
            yield pa.RecordBatch.from_arrays(columns, schema=schema.REPLAY)
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
def _bars(rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(schema.NAMES[RowKind.BAR], pa.string()), rows)


def _marks(ts: int, marks: Collection[str]) -> pa.RecordBatch:
    rows = [{schema.TS: ts, schema.KIND: mark} for mark in marks]
    return pa.RecordBatch.from_pylist(rows, schema=schema.REPLAY)
