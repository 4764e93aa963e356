"""A replay: which bars of a snapshot, in what order and how fast."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from streambt_spark.errors import ConfigError, DataError
from streambt_spark.stores.lake import Snapshot, open_snapshot
from streambt_spark.streams.pace import Pace, Timeline


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
