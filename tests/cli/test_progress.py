"""How a running job is followed: its alarm, told at once, and once; and the end of its sinks."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from streambt_spark.cli.progress import Alarm, progress_sinks
from streambt_spark.errors import OutOfSpace
from streambt_spark.progress import Progress
from streambt_spark.stores.ledger import LEDGER_SCHEMA, Failure, read_failures, write_ledger

FAILED = {"lane": "a1b2", "ts": 1704326400000000, "seq": 7, "kind": "disabled", "text": "boom"}


def _ledger(path: Path, *rows: dict[str, object]) -> str:
    other = {"lane": "a1b2", "ts": 1704240000000000, "seq": 6, "kind": "cash", "amount": 5}
    write_ledger(str(path), pa.Table.from_pylist([other, *rows], schema=LEDGER_SCHEMA))
    return str(path)


def _batch(disabled: int) -> Progress:
    return Progress(batch=1, rows=1, rows_per_second=1.0, seconds=1.0, disabled=disabled)


def test_a_disabled_strategy_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a batch reports one, what it raised is read from the ledger; another time no more."""
    alarm = Alarm(_ledger(tmp_path, FAILED))
    alarm.update(_batch(0))
    assert capsys.readouterr().err == ""
    alarm.update(_batch(1))
    line = "ERROR: strategy a1b2 was disabled at 2024-01-04T00:00:00Z: boom\n"
    assert capsys.readouterr().err == line
    _ledger(tmp_path, FAILED, FAILED | {"lane": "c3", "text": "token=x"})
    alarm.update(_batch(1))
    assert capsys.readouterr().err == line.replace("a1b2", "c3").replace("boom", "token=***")


def test_failures_are_read_from_a_ledger(tmp_path: Path) -> None:
    """The lane, the time and the text; none without a ledger."""
    assert read_failures(str(tmp_path / "none")) == []
    path = _ledger(tmp_path, FAILED)
    assert read_failures(path) == [Failure("a1b2", 1704326400000000, "boom")]


class Closing:
    """A sink whose end is an error, or is noted."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.closed = error, False

    def update(self, progress: Progress) -> None:
        """Nothing to say of a batch."""

    def close(self) -> None:
        """Fail, or note it."""
        if self.error is not None:
            raise self.error
        self.closed = True


def test_a_sink_that_cannot_be_closed_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The run's own error is the one that is raised, the others are closed, and a line tells it."""
    kept = Closing()

    def run() -> None:
        with progress_sinks(None) as sinks:
            sinks += [Closing(OSError("of a sink")), kept]
            raise OutOfSpace("of the run")

    with pytest.raises(OutOfSpace, match="of the run"):
        run()
    assert kept.closed
    assert capsys.readouterr().err == "the end of Closing failed: OSError: of a sink\n"
