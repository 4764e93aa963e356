"""The archive of the JVM's classes: when it is used, when it is written, how many are kept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from streambt_spark.spark.archive import KEPT, MAP, WRITE, ClassArchive
from streambt_spark.spark.java import Java


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    """A jar on the class path."""
    jar = tmp_path / "delta.jar"
    jar.write_bytes(b"one")
    return jar


def archive(jar: Path, version: str = "17.0.15") -> ClassArchive:
    """Return the archive for a Java of this version and one jar."""
    return ClassArchive.of(Java(Path("java"), version, 17), [jar], jar.parent)


def write(found: ClassArchive, content: bytes = bytes(4096)) -> None:
    """Let a JVM write the archive as it ends."""
    (option, _) = found.options(writable=True)
    Path(option.strip('"').partition("=")[2]).write_bytes(content)
    found.seal()


def test_it_is_written_once_and_then_used(jar: Path) -> None:
    """A missing archive is written under another name, and used once its JVM has ended."""
    found = archive(jar)
    option, quiet = found.options(writable=True)
    assert option == f'"{WRITE}={found.path.with_suffix(f".{os.getpid()}.part")}"'
    assert quiet == "-Xlog:cds*=off"
    write(found)
    use = [f'"{MAP}={found.path}"', "-Xlog:cds*=off"]
    assert found.options(writable=True) == found.options(writable=False) == use
    assert sorted(p.suffix for p in jar.parent.glob("classes-*")) == [".jsa", ".sum"]


@pytest.mark.parametrize("damage", [b"", bytes(100), bytes(2000) + b"x" + bytes(2095)])
def test_a_damaged_archive_is_deleted_and_not_used(jar: Path, damage: bytes) -> None:
    """Cut or changed, or of a JVM that was killed as it wrote: it would end the next one."""
    found = archive(jar)
    write(found)
    found.path.write_bytes(damage)
    assert found.options(writable=False) == []
    assert list(jar.parent.glob("classes-*")) == []
    found.path.write_bytes(bytes(4096))
    assert found.options(writable=False) == []


def test_what_a_killed_jvm_began_is_deleted(jar: Path) -> None:
    """An hour later, for another process may be at it now."""
    for name, age in (("classes-0.1.part", 4000.0), ("classes-0.2.part", 10.0)):
        (jar.parent / name).touch()
        os.utime(jar.parent / name, (0, time.time() - age))
    archive(jar).options(writable=True)
    assert [p.name for p in jar.parent.glob("*.part")] == ["classes-0.2.part"]


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
        path.touch()
        os.utime(path, (number, number))
    archive(jar).options(writable=True)
    assert sorted(jar.parent.glob("classes-*.jsa")) == old[4 - (KEPT - 1) :]
