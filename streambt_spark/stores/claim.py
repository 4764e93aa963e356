"""One writer at a time: a place is claimed by a file that only one can create.

The file, `NAME-1`, tells which process holds the place and since when. It is created exclusively:
by O_EXCL in a folder, by a put with If-None-Match on S3. Another writer is refused as long as the
holder may be alive. A holder is gone where its machine is this one and has been started anew, or
has no process of that number and start time any more; then the next writer creates `NAME-2`, again
exclusively, so that of several that find the same dead holder one takes over. What cannot be told
from here, a process of another machine or another container, counts as alive: the message names
the file to delete.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from streambt_spark.errors import OutputError, StoreError

if TYPE_CHECKING:
    from streambt_spark.stores.location import Location

_HELD: set[str] = set()
"""The marks of what this process holds just now."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds something: where and when it was started, since when it holds it.

    `mark` is of this one time, for a process may hold a place, fail, and try again.
    """

    host: str
    machine: str
    boot: str
    space: str
    process: int
    started: str
    since: str
    mark: str

    @classmethod
    def here(cls) -> Self:
        """Return this process as the holder of something from now on."""
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return cls(*_surroundings(), os.getpid(), _started(os.getpid()), since, uuid4().hex)

    @classmethod
    def of(cls, values: object) -> Self | None:
        """Return what `asdict` made of a holder; None where it is something else."""
        try:
            return cls(**values) if isinstance(values, Mapping) else None
        except TypeError:
            return None

    def gone(self) -> bool:
        """Whether it certainly holds nothing any more."""
        host, machine, boot, space = _surroundings()
        if (self.host, self.machine) != (host, machine):
            return False
        if self.boot != boot:
            return bool(machine)
        if self.space != space:
            return False
        if self.process == os.getpid() and self.started == _started(self.process):
            return self.mark not in _HELD
        return self.started != _started(self.process)

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} since {self.since}"


@contextmanager
def held(holder: Holder) -> Iterator[None]:
    """Let this process count as the holder until the block is left."""
    _HELD.add(holder.mark)
    try:
        yield
    finally:
        _HELD.discard(holder.mark)


@contextmanager
def claimed(folder: Location, name: str) -> Iterator[str]:
    """Hold a folder until the block is left; yield the name of the file that says so.

    Raises OutputError where another holds it.
    """
    holder = Holder.here()
    with held(holder):
        own = _take(folder, name, json.dumps(asdict(holder)).encode())
        try:
            yield own
        finally:
            with suppress(Exception):  # without it the claim is found to be this process's own
                (folder / own).remove()


def claims(names: list[str], name: str) -> list[str]:
    """Return those of a folder's names that are claims, oldest first."""
    numbered = {int(m[1]): n for n in names if (m := re.fullmatch(rf"{name}-(\d+)", n))}
    return [numbered[number] for number in sorted(numbered)]


def _take(folder: Location, name: str, content: bytes) -> str:
    while True:
        folder.make()
        before = claims(folder.names(), name)
        if before:
            _require_gone(folder / before[-1], folder)
        number = int(before[-1].rpartition("-")[2]) + 1 if before else 1
        if (folder / f"{name}-{number}").create(content):
            return f"{name}-{number}"


def _require_gone(file: Location, folder: Location) -> None:
    try:
        holder = _holder(file.read_bytes())
    except StoreError:
        if file.exists():
            raise
        return  # it was given up meanwhile
    if holder is not None and holder.gone():
        return
    who = f"by {holder}" if holder else "by a process that cannot be told"
    raise OutputError(
        f"{folder.text} is being written {who}; wait until it is done, or choose another path; if "
        f"that process does not exist any more, delete {file.text}"
    )


def _holder(content: bytes) -> Holder | None:
    try:
        return Holder.of(json.loads(content))
    except ValueError:
        return None


@lru_cache(maxsize=1)
def _surroundings() -> tuple[str, str, str, str]:
    """Return the host's name, the machine, its start, and the space of process numbers."""
    machine = _text(Path("/etc/machine-id"))
    boot = _text(Path("/proc/sys/kernel/random/boot_id"))
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return socket.gethostname(), machine, boot, space


def _started(process: int) -> str:
    """Return when a process was started, in its machine's own count; empty where there is none."""
    stat = _text(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
    if stat:
        return "" if stat[0] in "ZX" else stat[19]
    return "running" if not Path("/proc/self/stat").exists() and _exists(process) else ""


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
