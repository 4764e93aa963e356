"""A place is one run's at a time, and nobody's once that run has ended, however it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from streambt_spark.errors import OutputError, StoreConflict
from streambt_spark.stores.lease import NAME, lease

HOLDER = """
import sys
from streambt_spark.stores.lease import lease
with lease(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Start a process that holds the folder until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_refused_by_name(tmp_path: Path) -> None:
    """Who holds the folder is told, and after its end the folder is free."""
    process = holder(tmp_path / "out")
    with (
        pytest.raises(StoreConflict, match=f"process {process.pid} on ") as caught,
        lease(tmp_path / "out"),
    ):
        pass
    assert caught.value.address == str(tmp_path / "out")
    process.communicate()
    with lease(tmp_path / "out"):
        pass


def test_a_killed_owner_holds_nothing(tmp_path: Path) -> None:
    """The lease's file stays behind, the lock does not."""
    process = holder(tmp_path)
    process.kill()
    process.communicate()
    assert json.loads((tmp_path / NAME).read_text())["process"] == process.pid
    with lease(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["process"] == os.getpid()


def test_nothing_is_left_of_a_lease(tmp_path: Path) -> None:
    """Folders made for it go with it; one that was filled, or was there, stays."""
    (tmp_path / "there").mkdir()
    with lease(tmp_path / "there", tmp_path / "a" / "b", tmp_path / "filled"):
        (tmp_path / "filled" / "file").touch()
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "filled", "filled/file", "there",
    ]  # fmt: skip


def test_all_places_or_none(tmp_path: Path) -> None:
    """Where one of two is taken, the other is let go again."""
    process = holder(tmp_path / "b")
    with pytest.raises(StoreConflict), lease(tmp_path / "a", tmp_path / "b"):
        pass
    assert not (tmp_path / "a").exists()
    process.communicate()


def test_a_thread_may_take_again_what_it_holds(tmp_path: Path) -> None:
    """A command and the engine it calls hold the same folder; another thread is refused."""
    refused = []

    def attempt() -> None:
        with pytest.raises(StoreConflict), lease(tmp_path):
            pass
        refused.append(True)

    with lease(tmp_path):
        with lease(tmp_path, tmp_path / "ledger"):
            pass
        assert (tmp_path / NAME).exists()
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert refused == [True]
    assert not (tmp_path / NAME).exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder below a file is one clear error."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"), lease(tmp_path / "file" / "out"):
        pass
