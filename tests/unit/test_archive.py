"""The archive of the JVM's classes: when it is used, when it is written, how many are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streambt_spark.spark.archive import KEPT, ClassArchive
from streambt_spark.spark.java import Java

HEADER = bytes.fromhex("a8ab0bf0")


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    """A jar on the class path."""
    jar = tmp_path / "delta.jar"
    jar.write_bytes(b"one")
    return jar


def archive(jar: Path, version: str = "17.0.15") -> ClassArchive:
    """Return the archive for a Java of this version and one jar."""
    return ClassArchive.of(Java(Path("java"), version, 17), [jar], jar.parent)


def test_it_is_written_once_and_then_used(jar: Path) -> None:
    """A missing or half written archive is written, a whole one used."""
    found = archive(jar)
    write = [f'"-XX:ArchiveClassesAtExit={found.path}"', "-Xlog:cds*=off"]
    assert found.options(writable=True) == write
    found.path.write_bytes(bytes(4096))
    assert found.options(writable=True) == write
    found.path.write_bytes(HEADER + bytes(4096))
    use = [f'"-XX:SharedArchiveFile={found.path}"', "-Xlog:cds*=off"]
    assert found.options(writable=True) == found.options(writable=False) == use


def test_other_jars_use_it_but_do_not_write_it(jar: Path) -> None:
    """With more jars on the class path an archive would hold for no other run."""
    assert archive(jar).options(writable=False) == []


def test_a_cache_that_cannot_be_written_is_left_alone(
    jar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an image the cache may be read-only."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert archive(jar).options(writable=True) == []


def test_another_java_or_jar_has_another(jar: Path) -> None:
    """An update does not meet the archive of what it replaced."""
    before = archive(jar)
    assert archive(jar) == before
    assert archive(jar, "17.0.16") != before
    jar.write_bytes(b"another")
    assert archive(jar) != before


def test_the_cache_keeps_few(jar: Path) -> None:
    """Writing one more leaves the last used ones only."""
    old = [jar.parent / f"classes-{number}.jsa" for number in range(4)]
    for number, path in enumerate(old):
        path.write_bytes(HEADER)
        os.utime(path, (number, number))
    archive(jar).options(writable=True)
    assert sorted(jar.parent.glob("classes-*.jsa")) == old[4 - (KEPT - 1) :]
