"""A job's places: whole addresses, and what of them a checkpoint fixes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from streambt_spark.engines import job as job_module
from streambt_spark.engines.job import Job, run, temporary_folder
from streambt_spark.engines.signals import Stop, noted
from streambt_spark.errors import ConfigError, OutOfSpace, RunLost, StateError


def test_addresses_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark's JVM has another idea of the current folder and of the home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    job = Job.in_folder("out", ledger="~/ledger", checkpoint="s3a://b/c/")
    assert (job.ledger, job.checkpoint) == ("/home/me/ledger", "s3a://b/c")
    assert Job.in_folder("out").ledger == str(tmp_path / "out" / "ledger")


def test_a_job_s_folder_is_of_this_machine(tmp_path: Path) -> None:
    """Its ledger would otherwise be in a local folder that is called s3a:."""
    with pytest.raises(ConfigError, match="--out s3a://b/run is no folder of this machine"):
        Job.in_folder("s3a://b/run")
    job = Job.in_folder(tmp_path.as_uri(), ledger="s3a://b/ledger")
    assert (job.folder, job.ledger) == (str(tmp_path), "s3a://b/ledger")
    assert job.checkpoint == str(tmp_path / "checkpoint")


def test_a_temporary_folder_goes_with_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no error tells to resume what is gone with it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail() -> None:
        with temporary_folder() as folder:
            (folder / "checkpoint").mkdir()
            raise OutOfSpace("it is full; free some, then run the same command to resume", ts=1)

    with pytest.raises(OutOfSpace) as caught:
        fail()
    assert str(caught.value) == (
        "it is full; free some, then run it again, with --out DIR to be able to resume"
    )
    assert (caught.value.ts, list(tmp_path.iterdir())) == (1, [])


def test_a_checkpoint_fixes_the_layout(tmp_path: Path) -> None:
    """A ledger in the folder moves with it; one elsewhere stays where it is."""
    job = Job.in_folder(tmp_path, blocks=2)
    assert job.layout() == {"ledger": "ledger", "blocks": 2, "partitions": 2}
    elsewhere = Job.in_folder(tmp_path, ledger="s3a://b/ledger").layout()
    assert elsewhere == {"ledger": "s3a://b/ledger", "blocks": 1, "partitions": 1}


class Query:
    """A query that fails as often as it is told to, after a batch or without one."""

    def __init__(self, failures: list[Exception], *, advances: bool = False) -> None:
        self.failures, self.starts = failures, 0
        self.lastProgress = {} if advances else None

    def begin(self) -> Any:
        """Start it."""
        self.starts += 1
        return self

    def awaitTermination(self, _: float) -> bool:  # noqa: N802
        """Fail, or end."""
        if self.failures:
            raise self.failures.pop()
        return True

    def stop(self) -> None:
        """Nothing runs."""


@pytest.mark.parametrize(
    ("advances", "failures", "starts"), [(False, 5, 6), (False, 6, 6), (True, 20, 21)]
)
def test_a_query_is_started_again_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, advances: bool, failures: int, starts: int
) -> None:
    """Five times in a row; a batch in between counts as a new beginning. Each is told."""
    monkeypatch.setattr(job_module, "FIRST_WAIT", 0.0)
    query = Query([RunLost("gone; run the same command to resume")] * failures, advances=advances)
    told: list[str] = []
    lost = None
    try:
        run(Job.in_folder(tmp_path), query.begin, Stop(), lambda *notice: told.append(notice[1]))
    except RunLost as error:
        lost = error
    assert (query.starts, len(told)) == (starts, starts - 1)
    assert told[0] == "gone; the query starts again in 0 s (1 of 5)"
    assert (lost is not None) == (failures > 5 and not advances)


def test_what_would_fail_again_is_not_tried_again(tmp_path: Path) -> None:
    """Damage and a strategy's own errors are no bad luck."""
    query = Query([StateError("damaged")])
    with pytest.raises(StateError):
        run(Job.in_folder(tmp_path), query.begin, Stop(), lambda *_: None)
    assert query.starts == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_job_to_stop(number: signal.Signals) -> None:
    """It is noted, what it brings about is not told, and in the end it comes to whom it is for."""
    came: list[int] = []
    before = signal.signal(number, lambda number, _: came.append(number))
    try:
        with noted() as stop:
            signal.raise_signal(number)
            assert stop.asked
            assert came == []
            raise ConnectionResetError("the JVM got it too")
        assert came == [number]
        with noted() as stop:
            signal.raise_signal(number)
            stop.forgive()
        assert came == [number]
        with pytest.raises(StateError), noted():
            raise StateError("of its own")
    finally:
        signal.signal(number, before)
