"""A job's ledger and checkpoint belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from streambt_spark.engines.job import Job, claim
from streambt_spark.errors import CheckpointMismatch, OutputError

BOUND: dict[str, Any] = {"run_id": "aa11", "plan": "p"}


def test_a_first_start_and_every_later_one_are_allowed(tmp_path: Path) -> None:
    """Whether the run died before its first event or after many."""
    job = Job.in_folder(tmp_path)
    claim(job, BOUND)
    claim(job, BOUND)
    write_deltalake(job.ledger, pa.table({"kind": ["fill"]}))
    claim(job, BOUND)
    (tmp_path / "checkpoint" / "commits").mkdir()
    (tmp_path / "checkpoint" / "commits" / "0").touch()
    claim(job, BOUND)
    with pytest.raises(CheckpointMismatch, match="plan was"):
        claim(job, {"run_id": "bb22", "plan": "q"})


def test_a_ledger_without_its_checkpoint_is_refused(tmp_path: Path) -> None:
    """A new checkpoint would write the same events into it again."""
    job = Job.in_folder(tmp_path)
    write_deltalake(job.ledger, pa.table({"kind": ["fill"]}))
    with pytest.raises(OutputError, match=r"holds events, but checkpoint .* is new"):
        claim(job, BOUND)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger"]


def test_a_checkpoint_without_its_ledger_is_refused(tmp_path: Path) -> None:
    """The events before it would be missing."""
    job = Job.in_folder(tmp_path)
    claim(job, BOUND)
    (tmp_path / "checkpoint" / "commits").mkdir()
    (tmp_path / "checkpoint" / "commits" / "0").touch()
    with pytest.raises(OutputError, match=r"has written to ledger .*, which is gone"):
        claim(job, BOUND)


def test_addresses_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark's JVM has another idea of the current folder and of the home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    job = Job.in_folder("out", ledger="~/ledger", checkpoint="s3a://b/c/")
    assert (job.ledger, job.checkpoint) == ("/home/me/ledger", "s3a://b/c")
    assert Job.in_folder("out").ledger == str(tmp_path / "out" / "ledger")
