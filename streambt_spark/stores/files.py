"""The data files of a snapshot: written in time order, described so that readers can prune."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from streambt_spark.core.market.bars import DAY_US, SECOND_US
from streambt_spark.stores.blocks import BlockSink
from streambt_spark.stores.tables import BAR_SCHEMA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.stores.location import Location

GROUP_ROWS = 65_536
FILE_ROWS = 2_000_000
SMALL_FILE_ROWS = 500_000

_GRAINS = {"day": (DAY_US, 10), "month": (30 * DAY_US, 7), "year": (365 * DAY_US, 4)}
"""Grain → its microseconds, and how much of an ISO date names the period."""

BLOCKS = "streambt.blocks"
"""The key of a footer's metadata under which the digests of the file's blocks are."""

_DICTIONARY = ["symbol", "ts", "interval"]


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file: its path below the snapshot, rows, bytes, and first and last ts (UTC µs).

    From byte `footer` on is Parquet's footer, `sha256` its digest; it has those of the blocks
    before it, so this one stands for all of the file.
    """

    path: str
    period: str
    rows: int
    size: int
    min_ts: int
    max_ts: int
    footer: int
    sha256: str


def choose_grain(rows: int, first: int, last: int) -> str:
    """Return the finest of day, month, year that fills files, else 'all'.

    `rows` bars were seen from `first` to `last` (UTC µs). A period with more than FILE_ROWS is
    cut into several files, so a coarse grain costs nothing.
    """
    density = rows / max(last - first, DAY_US)
    for grain, (span, _) in _GRAINS.items():
        if density * span >= SMALL_FILE_ROWS:
            return grain
    return "all"


def period_of(ts: int, grain: str) -> str:
    """Return the text of the period that a time (UTC µs) falls in: 2024-03-05, 2024-03 or 2024."""
    if grain == "all":
        return "all"
    moment = datetime.fromtimestamp(ts // SECOND_US, UTC)
    return moment.date().isoformat()[: _GRAINS[grain][1]]


@dataclass(slots=True)
class FileWriter:
    """Writes ascending bars into Parquet files below `root`, one partition for each period."""

    root: Location
    grain: str
    files: list[DataFile] = field(default_factory=list)
    _writer: pq.ParquetWriter | None = None
    _file: pa.NativeFile | None = None
    _sink: BlockSink | None = None
    _path: str = ""
    _period: str = ""
    _rows: int = 0
    _min: int = 0
    _max: int = 0

    def write(self, batch: pa.RecordBatch, ts: NDArray[np.int64]) -> None:
        """Append a batch of BAR_SCHEMA whose times are `ts` (UTC µs, ascending)."""
        start = 0
        while start < len(ts):
            period = period_of(int(ts[start]), self.grain)
            if self._writer is None or period != self._period or self._rows >= FILE_ROWS:
                self._open(period, int(ts[start]))
            end = min(_period_end(ts, start, period, self.grain), start + FILE_ROWS - self._rows)
            assert self._writer is not None
            self._writer.write_batch(batch.slice(start, end - start), row_group_size=GROUP_ROWS)
            self._rows += end - start
            self._max = int(ts[end - 1])
            start = end

    def close(self) -> None:
        """Finish the open file."""
        if self._writer is None or self._sink is None or self._file is None:
            return
        self._writer.add_key_value_metadata({BLOCKS: self._sink.end_body()})
        self._writer.close()
        self._file.close()
        row = (self._path, self._period, self._rows, self._sink.size, self._min, self._max)
        self.files.append(DataFile(*row, self._sink.body, self._sink.digest()))
        self._writer = None

    def _open(self, period: str, first: int) -> None:
        self.close()
        self._path = f"period={period}/part-{len(self.files):05d}.parquet"
        (self.root / f"period={period}").make()
        place = self.root / self._path
        self._file = place.filesystem.open_output_stream(place.key)
        self._sink = BlockSink(self._file)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, "w"),
            BAR_SCHEMA,
            compression="lz4",
            use_dictionary=_DICTIONARY,
            store_schema=False,
        )
        self._period, self._rows, self._min = period, 0, first


def _period_end(ts: NDArray[np.int64], start: int, period: str, grain: str) -> int:
    if period_of(int(ts[-1]), grain) == period:
        return len(ts)
    low, high = start, len(ts) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if period_of(int(ts[middle]), grain) == period:
            low = middle
        else:
            high = middle
    return high
