"""The JVM's classes, kept from the first run on so that later ones start faster.

A job on Spark loads 20,000 classes, and to read, check and link them is ten seconds of processor
time. So the first JVM writes them to an archive in the cache as it ends, and later ones map it
(class data sharing, JEP 350). An archive holds for the jars it was written with and for any class
path that goes on after them; the JVM itself refuses one that does not fit, and goes on without.

A damaged archive, though, ends the JVM or does worse. So it gets its place under its own name only
when the JVM that wrote it has ended, together with a file that has its size and its checksum; one
that differs from them is deleted before it is used.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streambt_spark.spark.java import Java

KEPT = 2
"""Archives that stay in the cache, 200 MB each: one more than an update of Spark needs."""

WRITE = "-XX:ArchiveClassesAtExit"
"""The option of a JVM that writes an archive as it ends, which takes some seconds."""

MAP = "-XX:SharedArchiveFile"
"""The option of a JVM that uses one."""

_QUIET = "-Xlog:cds*=off"  # the JVM lists on stdout what it cannot archive or use
_CHUNK = 1 << 20
_LEFT_AFTER = 3600.0
"""Seconds after which what a killed JVM has begun to write is deleted."""


@dataclass(frozen=True, slots=True)
class ClassArchive:
    """The archive for a Java and the jars that come first on its class path."""

    path: Path

    @classmethod
    def of(cls, java: Java, jars: Sequence[Path], cache: Path) -> ClassArchive:
        """Return the archive's place in the cache folder, whether it is there or not."""
        stats = ((str(jar), jar.stat()) for jar in sorted(jars))
        lines = [f"{jar} {stat.st_size} {int(stat.st_mtime)}" for jar, stat in stats]
        identity = "\n".join((str(java.path.resolve()), java.version, *lines))
        return cls(cache / f"classes-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.jsa")

    @property
    def complete(self) -> bool:
        """Whether it is there and as it was written; deletes one that is not."""
        try:
            if self._sums.read_text() == _sums(self.path):
                return True
        except OSError:
            pass
        self.discard()
        return False

    def options(self, *, writable: bool) -> list[str]:
        """Return the JVM's options: to start with the archive or, where there is none, to write it.

        `writable` says that it may be written: the JVM runs a whole job, with no other jars.
        """
        if self.complete:
            with suppress(OSError):
                os.utime(self.path)  # it is in use: others go first
            return [f'"{MAP}={self.path}"', _QUIET]
        if not writable or not os.access(self.path.parent, os.W_OK):
            return []
        self._make_room()
        return [f'"{WRITE}={self._part}"', _QUIET]

    def seal(self) -> None:
        """Give what the JVM of this process has written, now that it has ended, its place."""
        with suppress(OSError):
            sums = _sums(self._part)
            self.discard()
            self._part.replace(self.path)
            self._sums.write_text(sums)

    def discard(self) -> None:
        """Delete it."""
        with suppress(OSError):
            self._sums.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    @property
    def _sums(self) -> Path:
        return self.path.with_suffix(".sum")

    @property
    def _part(self) -> Path:
        return self.path.with_suffix(f".{os.getpid()}.part")

    def _make_room(self) -> None:
        cache = self.path.parent
        others = (path for path in cache.glob("classes-*.jsa") if path != self.path)
        for path in sorted(others, key=_last_used, reverse=True)[KEPT - 1 :]:
            ClassArchive(path).discard()
        for part in cache.glob("classes-*.part"):
            if _last_used(part) < time.time() - _LEFT_AFTER:
                with suppress(OSError):
                    part.unlink()


def _sums(path: Path) -> str:
    """Return a file's size and CRC-32, which reads 200 MB in a third of a second."""
    sum_, size = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sum_, size = zlib.crc32(chunk, sum_), size + len(chunk)
    return f"{size} {sum_:08x}\n"


def _last_used(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
