"""A checkpoint belongs to one run, and says so before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streambt_spark.errors import CheckpointMismatch, OutputError, StateError
from streambt_spark.spark.manifest import NAME, bind

RUN: dict[str, Any] = {
    "run_id": "aa11",
    "config": {"cash": 1000, "commission": "0.1%", "symbols": ["A", "B"]},
    "version": "0.1.0",
}


def content(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_first_start_writes_and_later_ones_resume(tmp_path: Path) -> None:
    """The first start writes the manifest alone; the same run is then a resumed one."""
    folder = tmp_path / "deep" / "checkpoint"
    assert bind(folder, RUN) is False
    assert list(content(folder)) == [NAME]
    assert bind(folder, RUN) is True


def test_an_equal_run_id_is_the_same_run(tmp_path: Path) -> None:
    """What is not part of the identity may change between starts, and the file stays."""
    bind(tmp_path, RUN)
    before = content(tmp_path)
    assert bind(tmp_path, RUN | {"version": "0.1.1"}) is True
    assert content(tmp_path) == before


def test_another_run_is_refused_by_its_settings(tmp_path: Path) -> None:
    """The first settings that differ are named, with what was and what is; nothing is written."""
    bind(tmp_path, RUN)
    before = content(tmp_path)
    other = {
        "run_id": "bb22",
        "config": {"cash": 2000, "symbols": ["A", "C"], "short": True},
        "version": "0.2.0",
    }
    with pytest.raises(CheckpointMismatch) as caught:
        bind(tmp_path, other)
    text = str(caught.value)
    assert "config.cash was 1000, is 2000" in text
    assert 'config.commission was "0.1%", is not set' in text
    assert "config.short was not set, is true" in text
    assert "and 2 more" in text
    assert "\n" not in text
    assert content(tmp_path) == before


def test_only_the_run_id_differs(tmp_path: Path) -> None:
    """Where no setting tells the runs apart, the ids do."""
    bind(tmp_path, RUN)
    with pytest.raises(CheckpointMismatch, match='run_id was "aa11", is "bb22"'):
        bind(tmp_path, RUN | {"run_id": "bb22"})


def test_secrets_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that reached a manifest does not reach the message."""
    monkeypatch.delenv("MONGO_URI", raising=False)
    bind(tmp_path, RUN | {"mongo": "mongodb://me:hunter2@host/db"})
    with pytest.raises(CheckpointMismatch) as caught:
        bind(tmp_path, {"run_id": "bb22", "mongo": "mongodb://me:other99@host/db"})
    assert "hunter2" not in str(caught.value)
    assert "other99" not in str(caught.value)


@pytest.mark.parametrize("name", ["offsets", "commits", "metadata", "state"])
def test_a_checkpoint_without_a_manifest_is_refused(name: str, tmp_path: Path) -> None:
    """What Spark began without us is not taken over."""
    (tmp_path / name).mkdir()
    with pytest.raises(CheckpointMismatch, match=f"holds a checkpoint .{name}. without"):
        bind(tmp_path, RUN)
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("damage", ["", '{"run_id": "aa', "[]", "{}", '{"run_id": 7}', "\ufffd"])
def test_a_damaged_manifest_is_refused(damage: str, tmp_path: Path) -> None:
    """A manifest that cannot be read is never overwritten."""
    (tmp_path / NAME).write_text(damage)
    with pytest.raises(StateError, match="is damaged"):
        bind(tmp_path, RUN)
    assert (tmp_path / NAME).read_text() == damage


def test_a_killed_first_start_leaves_no_half_manifest(tmp_path: Path) -> None:
    """A partial file of a killed start is no manifest; the next start writes its own."""
    (tmp_path / f"{NAME}.partial").write_text('{"run_id')
    assert bind(tmp_path, RUN) is False
    assert list(content(tmp_path)) == [NAME]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A checkpoint below a file is one clear error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        bind(tmp_path / "file" / "checkpoint", RUN)
