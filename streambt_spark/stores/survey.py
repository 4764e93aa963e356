"""What a source is as a whole, once all its rows were looked at: whether it can be used."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.core.market.faults import Reason
from streambt_spark.errors import BadTime, DataError, NoData, did_you_mean
from streambt_spark.stores import cells
from streambt_spark.stores.spacing import Spacing
from streambt_spark.stores.tables import encode

if TYPE_CHECKING:
    from streambt_spark.stores.intake import Checked
    from streambt_spark.stores.sources import RawBatch

MOST_REJECTED = 0.5
"""A source of which more than this share is rejected is refused, unless that is allowed."""


@dataclass(slots=True)
class Survey:
    """The tally of a source's rows; `required_symbols` must be in it."""

    interval: str
    required_symbols: list[str] | None
    allow_rejected: bool
    _where: str = ""
    _read: int = 0
    _valid: int = 0
    _outside: int = 0
    _timed: bool = False
    _reasons: Counter[str] = field(default_factory=Counter)
    _symbols: set[str] = field(default_factory=set)
    _example: str = ""
    _off_grid: str = ""
    _spacing: Spacing = field(default_factory=Spacing)

    def add(self, raw: RawBatch, checked: Checked) -> None:
        """Take a batch in."""
        self._where = raw.where
        self._read += checked.read
        self._valid += len(checked.bars)
        self._outside += checked.outside
        self._timed = self._timed or checked.timed
        self._symbols.update(checked.bars.symbols)
        self._reasons.update(checked.quarantine["reason"].to_pylist())
        self._example = self._example or _first_time(raw)
        bars = checked.bars
        self._spacing.add(bars.symbols, bars.code, bars.ts)
        refused = checked.quarantine
        stray = refused.filter(pc.equal(refused["reason"], str(Reason.OFF_GRID)))
        if len(stray):
            times = stray["ts"].cast(pa.int64()).to_numpy()
            code, symbols = encode(stray["symbol"])
            self._spacing.add(symbols, code, times)
            self._off_grid = self._off_grid or _stray_time(int(times[0]), self.interval)

    def judge(self) -> None:
        """Raise what is wrong with the source: it is empty, unreadable, mostly bad, or misnamed."""
        where, required = self._where, self.required_symbols
        if self._read and not self._timed and self._reasons[Reason.BAD_TIME]:
            raise BadTime(
                f"{where}: not one of {self._read} times can be read, the first is "
                f"{self._example!r}; expected ISO 8601 such as 2024-01-31T09:30:00Z, a date, or "
                "seconds since 1970",
                address=where,
            )
        if not self._read and self._outside:
            raise NoData(
                f"{where} has no bar in that time; its {self._outside:,} rows are of other times",
                address=where,
            )
        if misfit := self._spacing.misfit(self.interval):
            raise DataError(f"{where}: {misfit}", address=where)
        if not self._valid:
            of = f" of {', '.join(required)}" if required else ""
            step = self._off_grid or "check the file"
            reasons = self._reason_text() or "no rows"
            raise NoData(
                f"{where} has no valid bar{of} (of {self._read} rows: {reasons}); {step}",
                address=where,
            )
        if self._read - self._valid > MOST_REJECTED * self._read and not self.allow_rejected:
            raise DataError(
                f"{where}: {rejected_share(self._read - self._valid, self._read)} are rejected "
                f"({self._reason_text()}); {self._off_grid or 'check the file'}; or allow it by "
                "--allow-rejected (allow_rejected=True)",
                address=where,
            )
        if absent := [name for name in required or () if name not in self._symbols]:
            hint = did_you_mean(absent[0], self._symbols)
            raise NoData(
                f"{where} has no bar of {', '.join(absent)}{hint}; it has {sorted(self._symbols)}",
                symbol=absent[0],
                address=where,
            )

    def _reason_text(self) -> str:
        return ", ".join(f"{count} {reason}" for reason, count in self._reasons.items())


def rejected_share(rejected: int, read: int) -> str:
    """Return how many rows of a source were rejected, as text."""
    return f"{rejected:,} of {read:,} rows ({rejected / read:.1%})"


def _first_time(raw: RawBatch) -> str:
    if not raw.columns.num_rows:
        return ""
    return str(cells.value(raw.columns["time"][0]))[:60]


def _stray_time(ts: int, interval: str) -> str:
    """Return what to do about times off the interval's grid."""
    time = np.datetime_as_string(np.datetime64(ts, "us"), unit="auto")
    return (
        f"times must be multiples of the interval {interval} from 1970-01-01T00:00Z, found "
        f"{time}Z: give a shorter --interval, such as 30m for hourly bars from 09:30, or bars on "
        "the grid"
    )
