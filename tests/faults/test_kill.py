"""A run that is killed at any moment resumes with the same command, and ends with the same ledger.

FAULT_KILLS sets how often the process group is killed; `make faults` kills ten times.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from streambt_spark.stores.ledger import account_events, ledger_digest, read_ledger
from tests.commands import run_streambt
from tests.faults.processes import Running, count

EXAMPLE = Path(__file__).parents[2] / "examples" / "sma_cross.py"
KILLS = int(os.environ.get("FAULT_KILLS", "2"))
SEED = int(os.environ.get("FAULT_SEED", "20"))
BARS_PER_SECOND = 1_500
START_SECONDS = 120
"""How long a run may take to its next commit."""

pytestmark = pytest.mark.spark


def words(market: Path, out: Path, engine: str) -> list[str]:
    """Return the command that is run, killed and run again."""
    told = ["run", str(EXAMPLE), "--bars", str(market / "us_daily.csv.gz"), "--interval", "1d"]
    told += ["--commission", "0.1%", "--engine", engine, "--out", str(out)]
    if engine == "spark":
        told += ["--bars-per-second", str(BARS_PER_SECOND), "--slices-per-batch", "400"]
    return told


@pytest.mark.timeout(300 + 90 * KILLS)
def test_killed_runs_resume_to_the_same_ledger(market: Path, tmp_path: Path) -> None:
    """SIGKILL to the JVM and its group leaves no duplicate, no gap and no manual step."""
    assert run_streambt(*words(market, tmp_path / "local", "local")).returncode == 0
    expected = json.loads((tmp_path / "local" / "manifest.json").read_text())["digest"]
    moments = random.Random(SEED)
    out = tmp_path / "killed"
    killed = 0
    for _ in range(KILLS):
        killed += _kill_once(words(market, out, "spark"), out / "checkpoint" / "commits", moments)
    finished = run_streambt(*words(market, out, "spark"))
    assert finished.returncode == 0, finished.stderr
    assert killed == KILLS
    ledger = read_ledger(str(out / "ledger"))
    assert ledger_digest(ledger) == expected
    assert json.loads((out / "manifest.json").read_text())["digest"] == expected
    numbers = account_events(ledger)["seq"].to_pylist()
    assert numbers == list(range(len(numbers)))


def _kill_once(command: list[str], commits: Path, moments: random.Random) -> int:
    """Start the command, kill its whole group at a random moment after a new commit or two.

    Returns whether it was still running.
    """
    run = Running(*command)
    wanted = count(commits) + moments.randint(0, 2)
    deadline = time.monotonic() + START_SECONDS
    while count(commits) < wanted and run.process.poll() is None:
        assert time.monotonic() < deadline, f"no commit within {START_SECONDS} s"
        with suppress(subprocess.TimeoutExpired):
            run.process.wait(0.05)
    with suppress(subprocess.TimeoutExpired):
        run.process.wait(moments.uniform(0.0, 12.0 if wanted == 0 else 2.0))
    alive = run.process.poll() is None
    run.kill()
    return int(alive)


def test_a_checkpoint_of_other_settings_is_refused(market: Path, tmp_path: Path) -> None:
    """Another commission in the same folder is refused by name, and nothing is written."""
    out = tmp_path / "out"
    assert run_streambt(*words(market, out, "spark")[:-4]).returncode == 0
    before = _files(out)
    changed = words(market, out, "spark")[:-4]
    changed[changed.index("0.1%")] = "0.2%"
    refused = run_streambt(*changed)
    assert refused.returncode == 1
    assert "belongs to another run" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert _files(out) == before


def _files(folder: Path) -> dict[Path, int]:
    """Return when each file was written."""
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
