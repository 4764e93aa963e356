"""Leases: of all processes only one works in a place at a time.

A local folder is held by a lock on the file `_lease` in it, which tells who holds it. The system
lets go of the lock when its process ends, however it ends, so a killed run needs no cleaning up.

S3 has no locks. There the lease is an object that only one can create (`_lease-1`, see `claim`),
and its holder writes it again every RENEWED_EVERY seconds. Who finds one waits: for the object to
go, for a renewal, which means that the holder is alive, or for EXPIRES_AFTER seconds without one,
after which it creates the next (`_lease-2`). A dead process of the same machine is not waited for.
So a run that was killed on one machine goes on on another with the same command, a little later.
Clocks are never compared.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from streambt_spark.errors import StoreConflict, StreambtError
from streambt_spark.stores.claim import Holder, claims, held
from streambt_spark.stores.location import Location

NAME = "_lease"
RENEWED_EVERY = 10.0
EXPIRES_AFTER = 45.0
"""Three renewals may fail before a lease counts as left."""

_threads: dict[str, list[int]] = {}
"""What this process holds: the thread, once for each time that it has taken the place."""
_guard = threading.Lock()


@contextmanager
def lease(*addresses: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the places (folders, or prefixes on S3) for this thread while the block runs.

    A folder that is not there is made, and removed at the end if nothing was put into it. Raises
    StoreConflict where another run works in one of them, OutputError where one cannot be written.
    """
    with ExitStack() as stack:
        for place in sorted({Location.of(address).text for address in addresses}):
            stack.enter_context(_hold(Location(place)))
        yield


@contextmanager
def _hold(place: Location) -> Iterator[None]:
    thread = threading.get_ident()
    with _guard:
        holders = _threads.setdefault(place.text, [])
        if holders and holders[0] != thread:
            raise _refusal(place, "another thread of this process")
        holders.append(thread)
    try:
        if len(holders) > 1:
            yield
        else:
            with _renewed(place) if place.remote else _locked(Path(place.text)):
                yield
    finally:
        with _guard:
            holders.pop()
            if not holders:
                del _threads[place.text]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder / NAME
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    with Location(str(folder)).guard("write"):
        descriptor = _lock(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock goes: the next one makes its own
        os.close(descriptor)
        with suppress(OSError):
            for empty in made:
                empty.rmdir()


def _lock(path: Path) -> int:
    """Return the descriptor of the lease's file with its lock; the file may vanish meanwhile."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.pread(descriptor, 4096, 0))
            os.close(descriptor)
            raise _refusal(Location(str(path.parent)), holder) from None
        except OSError:
            os.close(descriptor)
            raise
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, _content(Holder.here()), 0)
                return descriptor
        os.close(descriptor)


@contextmanager
def _renewed(place: Location) -> Iterator[None]:
    holder = Holder.here()
    with held(holder):
        file = place / _take(place, _content(holder))
        ended = threading.Event()
        renewing = threading.Thread(target=_renew, args=(file, holder, ended), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            ended.set()
            renewing.join()
            with suppress(StreambtError):
                file.remove()


def _take(place: Location, content: bytes) -> str:
    while True:
        before = claims(place.names(), NAME)
        if before:
            _await_end(place, place / before[-1])
        number = int(before[-1].rpartition("-")[2]) + 1 if before else 1
        if (place / f"{NAME}-{number}").create(content):
            for name in before:
                (place / name).remove()
            return f"{NAME}-{number}"


def _await_end(place: Location, file: Location) -> None:
    """Wait until a lease is left; raises StoreConflict once it is renewed."""
    first = _read(file)
    deadline = time.monotonic() + EXPIRES_AFTER
    while first is not None and time.monotonic() < deadline:
        holder = _holder(first)
        if isinstance(holder, Holder) and holder.gone():
            return
        time.sleep(RENEWED_EVERY / 10)
        now = _read(file)
        if now is not None and now != first:
            raise _refusal(place, holder)
        first = now


def _renew(file: Location, holder: Holder, ended: threading.Event) -> None:
    content = _content(holder)
    while not ended.wait(RENEWED_EVERY):
        content += b" "
        with suppress(StreambtError):  # the next one may succeed
            if not file.exists():
                return  # taken over: this process was stopped for long
            file.write_bytes(content)


def _read(file: Location) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def _content(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _holder(content: bytes) -> Holder | str:
    with suppress(ValueError):
        if (holder := Holder.of(json.loads(content))) is not None:
            return holder
    return "a process that cannot be told"


def _refusal(place: Location, holder: Holder | str) -> StoreConflict:
    return StoreConflict(
        f"another run works in {place.text} ({holder}); wait for its end, stop it, or choose "
        "another folder",
        address=place.text,
    )
