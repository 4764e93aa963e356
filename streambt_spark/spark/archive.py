"""The JVM's classes, kept from the first run on so that later ones start faster.

A job on Spark loads 20,000 classes, and to read, check and link them is ten seconds of processor
time. So the first JVM writes them to an archive in the cache as it ends, and later ones map it
(class data sharing, JEP 350). An archive holds for the jars it was written with and for any class
path that goes on after them; the JVM itself refuses one that does not fit, and goes on without.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streambt_spark.spark.java import Java

KEPT = 2
"""Archives that stay in the cache, 200 MB each: one more than an update of Spark needs."""

WRITE = "-XX:ArchiveClassesAtExit"
"""The option of a JVM that writes an archive as it ends, which takes some seconds."""

_MAGIC = bytes.fromhex("a8ab0bf0")
_QUIET = "-Xlog:cds*=off"  # the JVM lists on stdout what it cannot archive or use


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
        """Whether it is there and whole: the JVM writes its header last."""
        try:
            with self.path.open("rb") as file:
                return file.read(len(_MAGIC)) == _MAGIC
        except OSError:
            return False

    def options(self, *, writable: bool) -> list[str]:
        """Return the JVM's options: to start with the archive or, where there is none, to write it.

        `writable` says that it may be written: the JVM runs a whole job, with no other jars.
        """
        if self.complete:
            with suppress(OSError):
                os.utime(self.path)  # it is in use: others go first
            return [f'"-XX:SharedArchiveFile={self.path}"', _QUIET]
        if not writable or not os.access(self.path.parent, os.W_OK):
            return []
        self._make_room()
        return [f'"{WRITE}={self.path}"', _QUIET]

    def _make_room(self) -> None:
        others = (path for path in self.path.parent.glob("classes-*.jsa") if path != self.path)
        for path in sorted(others, key=_last_used, reverse=True)[KEPT - 1 :]:
            with suppress(OSError):
                path.unlink()


def _last_used(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
