"""A job's places: whole addresses, and what of them a checkpoint fixes."""

from __future__ import annotations

from pathlib import Path

import pytest

from streambt_spark.engines.job import Job


def test_addresses_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark's JVM has another idea of the current folder and of the home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    job = Job.in_folder("out", ledger="~/ledger", checkpoint="s3a://b/c/")
    assert (job.ledger, job.checkpoint) == ("/home/me/ledger", "s3a://b/c")
    assert Job.in_folder("out").ledger == str(tmp_path / "out" / "ledger")


def test_a_checkpoint_fixes_the_layout(tmp_path: Path) -> None:
    """A ledger in the folder moves with it; one elsewhere stays where it is."""
    job = Job.in_folder(tmp_path, blocks=2)
    assert job.layout() == {"ledger": "ledger", "blocks": 2, "partitions": 2}
    elsewhere = Job.in_folder(tmp_path, ledger="s3a://b/ledger").layout()
    assert elsewhere == {"ledger": "s3a://b/ledger", "blocks": 1, "partitions": 1}
