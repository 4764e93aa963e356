"""A checkpoint's files as Spark writes them, looked at before a run goes on from them.

metadata            the query's id; the folders of the next two are there before it
sources/S/0         where source S begins, if it keeps that; read until batch 0 has ended
offsets/N           what batch N reads, written before it runs
commits/N           written after batch N has ended
state/OP/P/V.delta  what partition P kept at the end of batch V - 1; V.snapshot sums all up to it

A ledger's commit carries the query's id and the batch's number. The two are of one moment where the
ledger's last batch is the last committed one, or the planned one, which then only lacks its commit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from streambt_spark.errors import CheckpointMismatch, StateError
from streambt_spark.stores.checksums import discard, intact
from streambt_spark.stores.delta import check_files, drop_batch, drop_undurable, open_table
from streambt_spark.stores.location import Location

METADATA, OFFSETS, COMMITS, STATE = "metadata", "offsets", "commits", "state"
SOURCES = "sources"
OF_SPARK = frozenset({METADATA, OFFSETS, COMMITS, STATE, SOURCES})
_VERSION = b"v1\n"
_VERSION_FILE = re.compile(r"\.?(\d+)\.(?:delta|snapshot)(?:\.crc)?")
_ADVICE = (
    "put it back from a copy that is as old as the ledger, or delete the checkpoint and the ledger "
    "to start again"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a run is: the batch last planned, last committed and last written; -1 for none."""

    planned: int
    committed: int
    written: int

    @property
    def is_one(self) -> bool:
        """Whether the checkpoint and the ledger tell of the same moment."""
        if self.planned == self.committed:
            return self.written == self.committed
        return self.planned == self.committed + 1 and self.committed <= self.written <= self.planned


def resume(checkpoint: str, ledger: str) -> Moment:
    """Return how far a run is, its checkpoint and its ledger found whole and of one moment.

    What a power cut leaves is mended: the newest file of each kind was not durable where it is
    empty, and is dropped. Where that, or the loss of the ledger's newest entry, leaves one of the
    two a batch behind, the other one is set back by that batch, which runs again and writes the
    same. So is the ledger where it has a batch that is not committed and whose state is lost: Spark
    would leave the batch out, and then lack that state. Raises StateError or StoreError for a
    damaged file, by its name, CheckpointMismatch where the two are not of one moment.
    """
    place = Location.of(checkpoint)
    query = _query(place)
    drop_undurable(ledger)
    written = _written(ledger, query)
    offsets, commits = _Log.read(place / OFFSETS), _Log.read(place / COMMITS)
    undurable = [] if commits.numbers else list(_undurable_beginnings(place / SOURCES))
    found = Moment(offsets.newest, commits.newest, written)
    mended = _mended(found, 0 if undurable and offsets.newest == 0 else offsets.empty)
    if not mended.is_one:
        raise CheckpointMismatch(
            f"checkpoint {place.text} has committed batch {_number(found.committed)}, ledger "
            f"{ledger} has batch {_number(written)}: they are not of one moment, for one is an "
            "older copy or has lost files; nothing was written; put both back as they were "
            "together, or delete both to start again",
            address=place.text,
        )
    for log in (offsets, commits):
        log.check()
    state = _State(place / STATE)
    for file, reason in state.faults(mended.committed + 1):
        raise _damaged(file, reason)
    if mended.written > mended.committed and any(state.faults(mended.written + 1)):
        mended = replace(mended, written=mended.committed)
    for batch in range(found.written, mended.written, -1):
        _set_ledger_back(ledger, query, batch)
    offsets.keep(mended.planned)
    commits.keep(mended.committed)
    for file in undurable:
        _remove(file)
    if mended.written == mended.committed:
        state.keep(mended.committed + 1, begun=mended.planned >= 0)
    return mended


def offsets_of(checkpoint: str, batch: int) -> list[Any]:
    """Return where a batch ends in each of its sources."""
    file = Location.of(checkpoint) / OFFSETS / str(batch)
    lines = file.read_bytes()[len(_VERSION) :].decode().splitlines()[1:]
    return [None if line == "-" else json.loads(line) for line in lines]


def committed(checkpoint: str) -> int:
    """Return the batch last committed; -1 for none."""
    return _Log.read(Location.of(checkpoint) / COMMITS).newest


def _mended(found: Moment, lost: int | None) -> Moment:
    """Return the moment after mending; `lost` is the batch whose offsets cannot be gone on from."""
    planned, committed, written = found.planned, found.committed, found.written
    if lost is not None and lost == planned:
        planned -= 1
    if lost is not None and lost == planned + 1:
        committed, written = min(committed, planned), min(written, planned)
        if found.written > lost or found.committed > lost:
            return found
    if written == planned - 1 and committed == planned:
        committed -= 1
    return Moment(planned, committed, written)


def _number(batch: int) -> str:
    return "none" if batch < 0 else str(batch)


def _query(place: Location) -> str:
    """Return the query's id; an empty string where Spark has not begun."""
    names = OF_SPARK.intersection(place.names())
    begun = any(_Log.read(place / name).numbers for name in (OFFSETS, COMMITS))
    if METADATA not in names:
        if begun or names - {OFFSETS, COMMITS}:
            found = ", ".join(sorted(names))
            raise _damaged(place / METADATA, f"it is missing, but there are {found}")
        return ""
    file = place / METADATA
    content = file.read_bytes()
    if not content and not begun:
        _remove(file)  # not durable either, and nothing came of it
        return ""
    try:
        query = json.loads(content)["id"]
    except (ValueError, KeyError, TypeError):
        raise _damaged(file, "it names no query") from None
    _require_intact(file)
    return str(query)


def _undurable_beginnings(place: Location) -> Iterator[Location]:
    """Yield what is empty of where the sources begin: a source that reads it would fail."""
    for source in place.names():
        for name in (place / source).names():
            if name.isdigit() and not (place / source / name).read_bytes():
                yield place / source / name


def _written(ledger: str, query: str) -> int:
    table = open_table(ledger)
    if table is None:
        return -1
    check_files(table, ledger)
    batch = table.transaction_version(query) if query else None
    if batch is None:
        raise CheckpointMismatch(
            f"ledger {ledger} holds events, but not of this checkpoint's query, so they are "
            "another run's; choose another --out or --ledger, or delete the ledger",
            address=ledger,
        )
    return int(batch)


def _set_ledger_back(ledger: str, query: str, batch: int) -> None:
    if not drop_batch(ledger, query, batch):
        raise StateError(
            f"the checkpoint has lost a part of batch {batch}, and ledger {ledger} cannot be set "
            f"back to the batch before; delete the checkpoint and the ledger to start again",
            address=ledger,
        )


@dataclass(frozen=True, slots=True)
class _Log:
    """The files of `offsets` or `commits`: the newest number, and that of an empty one after it."""

    place: Location
    numbers: tuple[int, ...]
    empty: int | None

    @classmethod
    def read(cls, place: Location) -> _Log:
        numbers = sorted(int(name) for name in place.names() if name.isdigit())
        empty = None
        if numbers and not (place / str(numbers[-1])).read_bytes():
            empty = numbers.pop()
        return cls(place, tuple(numbers), empty)

    @property
    def newest(self) -> int:
        return self.numbers[-1] if self.numbers else -1

    def check(self) -> None:
        """Raise StateError where one of the two newest is damaged; Spark reads no others."""
        if self.newest > 0 and self.newest - 1 not in self.numbers:
            raise _damaged(self.place / str(self.newest - 1), "it is missing")
        for number in self.numbers[-2:]:
            file = self.place / str(number)
            content = file.read_bytes()
            if not content.startswith(_VERSION) or not _is_json(content[len(_VERSION) :]):
                raise _damaged(file, "it is no entry of Spark's log")
            _require_intact(file)

    def keep(self, newest: int) -> None:
        """Delete what is newer, and the checksums of what is not there any more."""
        for name in self.place.names():
            number = name.removeprefix(".").removesuffix(".crc")
            if number.isdigit() and int(number) > newest:
                (self.place / name).remove()


def _is_json(content: bytes) -> bool:
    """Return whether each line is JSON, or the mark of a source that has read nothing."""
    try:
        lines = content.decode().splitlines()
        return bool(lines) and all(line == "-" or json.loads(line) is not None for line in lines)
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class _State:
    """What the batches have kept, by version: batch N begins with version N, and makes N + 1."""

    place: Location

    def faults(self, version: int) -> Iterator[tuple[Location, str]]:
        """Yield the files that a version lacks, or that are damaged, and how."""
        if version < 1:
            return
        partitions = list(self._partitions())
        if not partitions:
            yield self.place, "it is missing"
        for partition in partitions:
            names = partition.names()
            for name in _needed(names, version):
                if name not in names:
                    yield partition / name, "it is missing"
                elif not _is_intact(partition / name):
                    yield partition / name, "it is not as it was written"

    def keep(self, version: int, *, begun: bool) -> None:
        """Delete what is newer, which a batch that runs again makes again.

        Where no batch has `begun` all of it goes: Spark plans no first one where there is any.
        """
        if not begun:
            self.place.remove()
            return
        for partition in self._partitions():
            for name in partition.names():
                if (found := _VERSION_FILE.fullmatch(name)) and int(found[1]) > version:
                    (partition / name).remove()

    def _partitions(self) -> Iterator[Location]:
        for operator in self.place.names():
            for partition in (self.place / operator).names():
                if partition.isdigit():
                    yield self.place / operator / partition


def _needed(names: list[str], version: int) -> list[str]:
    """Return the files that a version is read from: the last snapshot and the deltas after it."""
    if any(name.endswith((".zip", ".changelog")) for name in names):
        return []  # of another state store, which the caller's session has set
    snapshots = [int(n[:-9]) for n in names if n.endswith(".snapshot") and n[:-9].isdigit()]
    last = max((number for number in snapshots if number <= version), default=0)
    deltas = [f"{number}.delta" for number in range(last + 1, version + 1)]
    return [f"{last}.snapshot", *deltas] if last else deltas


def _require_intact(file: Location) -> None:
    if not _is_intact(file):
        raise _damaged(file, "it is not as it was written")


def _is_intact(file: Location) -> bool:
    return file.remote or intact(Path(file.text))


def _remove(file: Location) -> None:
    if file.remote:
        file.remove()
    else:
        discard(Path(file.text))


def _damaged(file: Location, reason: str) -> StateError:
    return StateError(f"{file.text} is damaged: {reason}; {_ADVICE}", address=file.text)
