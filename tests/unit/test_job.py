"""A job's places: whole addresses, and what of them a checkpoint fixes."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow as pa
import pytest

from streambt_spark.engines import job as job_module
from streambt_spark.engines.job import Job, run, temporary_folder
from streambt_spark.engines.signals import Stop, noted
from streambt_spark.engines.spark import forgiven
from streambt_spark.errors import (
    ConfigError,
    OutOfSpace,
    RunLost,
    StateError,
    StoreConflict,
    StoreUnavailable,
)
from streambt_spark.stores.lease import Held, Lease
from streambt_spark.stores.ledger import write_ledger
from streambt_spark.stores.location import Location


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
        run(Job.in_folder(tmp_path), Lease(), query.begin, Stop(), lambda *n: told.append(n[1]))
    except RunLost as error:
        lost = error
    assert (query.starts, len(told)) == (starts, starts - 1)
    assert told[0] == "gone; the query starts again in 0 s (1 of 5)"
    assert (lost is not None) == (failures > 5 and not advances)


def test_what_would_fail_again_is_not_tried_again(tmp_path: Path) -> None:
    """Damage and a strategy's own errors are no bad luck."""
    query = Query([StateError("damaged")])
    with pytest.raises(StateError):
        run(Job.in_folder(tmp_path), Lease(), query.begin, Stop(), lambda *_: None)
    assert query.starts == 1


def test_a_query_that_cannot_begin_counts_as_one_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its start reads the checkpoint and opens the ledger, which may be on S3."""
    monkeypatch.setattr(job_module, "FIRST_WAIT", 0.0)
    query = Query([RunLost("gone")])
    outage = [StoreUnavailable("S3 failed")] * 3

    def begin() -> Any:
        if query.starts and outage:
            raise outage.pop()
        return query.begin()

    told: list[str] = []
    run(Job.in_folder(tmp_path), Lease(), begin, Stop(), lambda *notice: told.append(notice[1]))
    assert query.starts == 2
    assert [text.partition(";")[0] for text in told] == ["gone", *["S3 failed"] * 3]
    assert told[-1].endswith("(4 of 5)")


def test_a_stream_that_has_ended_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last batch reached the ledger, and only its commit failed: no batch would tell of the
    end again, for the ledger takes none that it has.
    """
    monkeypatch.setattr(job_module, "FIRST_WAIT", 0.0)
    job = Job.in_folder(tmp_path)
    write_ledger(job.ledger, pa.table({"kind": ["end"]}))
    query = Query([StoreUnavailable("S3 failed")])
    run(job, Lease(), query.begin, Stop(), lambda *_: None, until=Event())
    assert query.starts == 1


class Endless(Query):
    """A query that runs until it is stopped, and lets a lease run out meanwhile."""

    def __init__(self, held: Held) -> None:
        super().__init__([])
        self.held, self.stopped = held, False

    def awaitTermination(self, _: float) -> bool:  # noqa: N802
        """Return whether it was stopped."""
        self.held.good_until = 0.0
        return self.stopped

    def stop(self) -> None:
        """Stop it."""
        self.stopped = True


def test_who_holds_its_places_no_more_stops_its_query(tmp_path: Path) -> None:
    """Another run may write there by now; nor does it start a query then."""
    held = Held(Location("s3a://bucket/ledger"), 1)
    query = Endless(held)
    for _ in range(2):
        with pytest.raises(StoreConflict, match="has not renewed its lease of s3a://bucket/ledger"):
            run(Job.in_folder(tmp_path), Lease((held,)), query.begin, Stop(), lambda *_: None)
        assert (query.starts, query.stopped) == (1, True)


class Stuck(Query):
    """A query that does not end, and whose stop waits."""

    def __init__(self) -> None:
        super().__init__([])
        self.free = Event()

    def awaitTermination(self, _: float) -> bool:  # noqa: N802
        """Go on."""
        return False

    def stop(self) -> None:
        """Wait."""
        self.free.wait()


def test_a_query_that_does_not_stop_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is cut off holds it for a minute, and a scheduler waits for half of that."""
    monkeypatch.setattr(job_module, "STOPS_IN", 0.01)
    query, until = Stuck(), Event()
    until.set()
    run(Job.in_folder(tmp_path), Lease(), query.begin, Stop(), lambda *_: None, until=until)
    assert query.starts == 1
    query.free.set()


def interrupt(number: signal.Signals, came: list[int]) -> None:
    """Let a signal come in the midst of a job, note how many have come on to the caller, and fail
    for it.
    """
    with noted():
        signal.raise_signal(number)
        came.append(len(came))
        raise ConnectionResetError("the JVM got it too")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_job_to_stop(number: signal.Signals) -> None:
    """It is noted, what it brings about is not told, and in the end it comes to whom it is for.

    Where that handler returns, the job was stopped all the same, and says so.
    """
    came: list[int] = []
    before = signal.signal(number, lambda number, _: came.append(number))
    try:
        with pytest.raises(RunLost) as caught:
            interrupt(number, came)
        assert came == [0, number]
        assert str(caught.value) == f"stopped by {number.name}; run the same command to resume"
        came.clear()
        with noted() as stop:
            signal.raise_signal(number)
            stop.forgive()
        assert stop.asked
        assert came == []
        with pytest.raises(StateError), noted():
            raise StateError("of its own")
    finally:
        signal.signal(number, before)


def test_an_ignored_signal_stays_ignored() -> None:
    """A shell without job control starts `… &` so; also once Spark has taken the signal."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noted() as stop:
            signal.raise_signal(signal.SIGINT)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            stop.listen()
            signal.raise_signal(signal.SIGINT)
        assert not stop.asked
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_is_not_python_s_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python could not put it back."""
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:
        patched.setattr(signal, "getsignal", lambda _: None)
        with noted():
            pass
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_ends_a_live_run_that_has_a_result(tmp_path: Path) -> None:
    """Before the first batch there is none to return, and the signal comes to whom it is for."""
    job, stop = Job.in_folder(tmp_path), Stop()
    stop.ask(signal.SIGINT)
    assert not forgiven(job, stop)
    assert stop.signal == signal.SIGINT
    write_ledger(job.ledger, pa.table({"kind": ["equity"]}))
    assert forgiven(job, stop)
    assert stop.signal is None
    stop.ask(signal.SIGTERM)
    assert not forgiven(job, stop)
