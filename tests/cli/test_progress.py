"""A running job's alarm: what a strategy raised is told at once, and once."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from streambt_spark.cli.progress import Alarm
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
