"""Leases: of all processes only one works in a place at a time.

A local folder is held by a lock on the file `_lease` in it, which tells who holds it. The system
lets go of the lock when its process ends, however it ends, so a killed run needs no cleaning up.

S3 has no locks. There the lease is an object that only one can create (`_lease-1`, see `claim`),
and its holder writes it again every RENEWED_EVERY seconds. Who finds one waits: for the object to
go, for a renewal, which means that the holder is alive, or for EXPIRES_AFTER seconds without one,
after which it creates the next (`_lease-2`). A dead process of the same machine is not waited for.
So a run that was killed on one machine goes on on another with the same command, a little later.
Clocks are never compared.

Who holds a lease asks it (`check`) while it works: a machine that slept, or lost its network, for
EXPIRES_AFTER seconds may have been taken for dead, and must write no more.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from streambt_spark.errors import StoreConflict, StreambtError
from streambt_spark.stores.claim import Holder, claims, held
from streambt_spark.stores.location import Location

NAME = "_lease"
RENEWED_EVERY = 10.0
EXPIRES_AFTER = 45.0
"""Three renewals may fail before a lease counts as left."""


@dataclass(eq=False, slots=True)
class Held:
    """A place, the thread that holds it, how many times it has taken it, and for how long it may.

    `good_until` is a time of `_now`; a lock is good as long as its process lives. `taken` tells
    that another run was seen to hold the place.
    """

    place: Location
    thread: int
    times: int = 0
    good_until: float = math.inf
    taken: bool = False

    def check(self) -> None:
        """Raise StoreConflict where the place may be another run's by now."""
        if self.taken:
            raise StoreConflict(
                f"another run has taken over {self.place.text}, for this one had not renewed its "
                "lease for too long; it goes on there, or the same command resumes after its end",
                address=self.place.text,
            )
        if _now() > self.good_until:
            raise StoreConflict(
                f"this run has not renewed its lease of {self.place.text} for {EXPIRES_AFTER:g} s, "
                "so another one may work there; run the same command to resume",
                address=self.place.text,
            )


@dataclass(frozen=True, slots=True)
class Lease:
    """The places that a block holds."""

    places: tuple[Held, ...] = ()

    def check(self) -> None:
        """Raise StoreConflict where one of them may be another run's by now."""
        for own in self.places:
            own.check()


_held: dict[str, Held] = {}
"""What this process holds."""
_guard = threading.Lock()


@contextmanager
def lease(*addresses: str | os.PathLike[str]) -> Iterator[Lease]:
    """Hold the places (folders, or prefixes on S3) for this thread while the block runs.

    A folder that is not there is made, and removed at the end if nothing was put into it. Raises
    StoreConflict where another run works in one of them, OutputError where one cannot be written.
    """
    with ExitStack() as stack:
        places = sorted({Location.of(address).text for address in addresses})
        yield Lease(tuple(stack.enter_context(_hold(Location(place))) for place in places))


@contextmanager
def _hold(place: Location) -> Iterator[Held]:
    thread = threading.get_ident()
    with _guard:
        own = _held.setdefault(place.text, Held(place, thread))
        if own.thread != thread:
            raise _refusal(place, "another thread of this process")
        own.times += 1
    try:
        if own.times > 1:
            yield own
        else:
            with _renewed(own) if place.remote else _locked(Path(place.text)):
                yield own
    finally:
        with _guard:
            own.times -= 1
            if not own.times:
                del _held[place.text]


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
def _renewed(own: Held) -> Iterator[None]:
    holder = Holder.here()
    with held(holder):
        number = _take(own, _content(holder))
        ended = threading.Event()
        renewing = threading.Thread(target=_renew, args=(own, number, holder, ended), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            ended.set()
            renewing.join()
            with suppress(StreambtError):
                _file(own.place, number).remove()


def _take(own: Held, content: bytes) -> int:
    while True:
        before = claims(own.place.names(), NAME)
        if before:
            _await_end(own.place, own.place / before[-1])
        number = int(before[-1].rpartition("-")[2]) + 1 if before else 1
        good_until = _now() + EXPIRES_AFTER
        if _file(own.place, number).create(content):
            own.good_until = good_until
            for name in before:
                (own.place / name).remove()
            return number


def _file(place: Location, number: int) -> Location:
    return place / f"{NAME}-{number}"


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


def _renew(own: Held, number: int, holder: Holder, ended: threading.Event) -> None:
    file, following = _file(own.place, number), _file(own.place, number + 1)
    content = _content(holder)
    while not ended.wait(RENEWED_EVERY):
        content += b" "
        good_until = _now() + EXPIRES_AFTER  # another one counts from when it sees the renewal
        with suppress(StreambtError):  # the next one may succeed
            # A renewal may have come after its object was removed, and have made it again.
            if not file.exists() or following.exists():
                own.taken = True
                return
            file.write_bytes(content)
            own.good_until = good_until


def _now() -> float:
    """Return seconds of a clock that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


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
