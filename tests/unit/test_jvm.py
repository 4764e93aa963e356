"""The JVM's own folder, held while its owner lives, and what is said of the JVM's end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streambt_spark.spark import jvm
from streambt_spark.spark.jvm import Errors, Folder, Jvm


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_what_a_dead_owner_left_is_deleted(temporary: Path) -> None:
    """Once nobody holds its lock; one that is held stays."""
    left, live = Folder.make(), Folder.make()
    os.close(left.lock)
    made = Folder.make()
    assert set(temporary.iterdir()) == {live.path, made.path}
    for folder in (live, made):
        folder.delete()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("content", [{}, {"lock": "mine"}, {"results.csv": "1"}])
def test_a_folder_of_another_is_left(temporary: Path, content: dict[str, str]) -> None:
    """Whatever it is called: without a lock that was written here it is not touched."""
    for name in ("streambt-spark-test", f"{jvm._FOLDER}test"):
        (temporary / name).mkdir()
        for file, text in content.items():
            (temporary / name / file).write_text(text)
        Folder.make().delete()
        assert {p.name: p.read_text() for p in (temporary / name).iterdir()} == content


def test_a_folder_that_is_being_made_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another start, just before the lock is taken, does not delete it."""
    take = jvm._locked

    def meanwhile(*arguments: Any) -> int:
        monkeypatch.setattr(jvm, "_locked", take)
        Folder.make().delete()
        return take(*arguments)

    monkeypatch.setattr(jvm, "_locked", meanwhile)
    made = Folder.make()
    assert made.path.is_dir()
    made.delete()


def test_a_crash_is_reported_once(temporary: Path) -> None:
    """Its report is put aside at the first question, and every later answer is that one."""
    folder = Folder.make()
    (folder.path / "error.log").write_text("SIGSEGV")
    with subprocess.Popen(["sh", "-c", "kill -SEGV $$"]) as process:
        ended = Jvm(SimpleNamespace(proc=process), folder=folder)
        told = ended.ended()
        assert ended.ended() == told
    folder.delete()
    (report,) = temporary.glob("streambt-java-*.log")
    assert told == f"Spark's Java process was ended by SIGSEGV, details in {report}"
    assert report.read_text() == "SIGSEGV"
    assert ended.ended() == told


def test_what_nobody_reads_does_not_stop_the_jvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its standard error is read to the end, also where ours is a closed pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stderr", os.fdopen(writing, "w", buffering=1))
    errors = Errors()
    many = ["sh", "-c", "yes | head -n 100000"]  # more than a pipe holds
    with subprocess.Popen(many, stdout=errors.descriptor) as process:
        errors.pass_on()
        assert process.wait(timeout=60) == 0
    with pytest.raises(BrokenPipeError):
        sys.stderr.close()
