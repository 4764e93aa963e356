"""A run that is stopped, or whose processes are killed one by one, says so and goes on."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import psutil
import pytest

from streambt_spark.stores.delta import entries
from tests.commands import run_streambt
from tests.faults.processes import Running, count
from tests.faults.test_kill import START_SECONDS, words

pytestmark = pytest.mark.spark


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The run's folder."""
    return tmp_path / "out"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of all processes."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def start(market: Path, out: Path, *, batches: int) -> Running:
    """Start the paced run, and wait for some more batches."""
    run = Running(*words(market, out, "spark"))
    commits = out / "checkpoint" / "commits"
    wanted = count(commits) + batches
    run.until(lambda: count(commits) >= wanted, START_SECONDS)
    return run


def digest(folder: Path) -> str:
    """Return the digest of a finished run."""
    found: str = json.loads((folder / "manifest.json").read_text())["digest"]
    return found


@pytest.mark.timeout(600)
def test_every_part_of_a_run_may_be_killed(market: Path, out: Path, temporary: Path) -> None:
    """A worker is replaced; without its JVM, and on SIGTERM, the run ends and can be resumed.

    Meanwhile no other run gets into the folder, and in the end nothing is left but the result.
    """
    assert run_streambt(*words(market, out.with_name("local"), "local")).returncode == 0

    run = start(market, out, batches=1)
    for engine in ("spark", "local"):
        second = run_streambt(*words(market, out, engine), seconds=60)
        assert second.returncode == 75
        assert f"another run works in {out} (process {run.process.pid}" in second.stderr
    for worker in run.named("python_streaming_source_runner", "pyspark.worker"):
        worker.kill()
    run.until(lambda: count(out / "checkpoint" / "commits") >= 4, START_SECONDS)
    for java in run.named("java"):
        java.kill()
    code, lines = run.end()
    assert code == 75
    assert lines[-1] == (
        "streambt: Spark's Java process was killed (SIGKILL), as the system does where memory is "
        "short; run the same command to resume"
    )
    assert all("the query starts again in" in line for line in lines[:-1]), lines

    run = start(market, out, batches=2)
    family = run.family()
    run.process.send_signal(signal.SIGTERM)
    assert run.end(60) == (143, [])
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert list(temporary.iterdir()) == []
    assert not (out / "manifest.json").exists()
    local = run_streambt(*words(market, out, "local"))
    assert local.returncode == 1
    assert f"{out} holds the spark run" in local.stderr

    # What a power cut may leave of the newest files.
    for newest in (_newest(out / "checkpoint" / "offsets"), entries(out / "ledger")[-1]):
        newest.write_bytes(b"")
    finished = run_streambt(*words(market, out, "spark")[:-4])
    assert (finished.returncode, finished.stderr) == (0, "")
    assert digest(out) == digest(out.with_name("local"))
    assert list(temporary.iterdir()) == []


def _newest(folder: Path) -> Path:
    return max((p for p in folder.iterdir() if p.name.isdigit()), key=lambda path: int(path.name))


@pytest.mark.timeout(300)
def test_a_scheduler_may_end_the_whole_group(market: Path, out: Path, temporary: Path) -> None:
    """SIGTERM to Python, the JVM and the workers at once; and to Python while it starts."""
    run = Running(*words(market, out, "spark"))
    run.until(lambda: bool(run.named("java")), START_SECONDS)
    run.process.send_signal(signal.SIGTERM)
    assert run.end(60) == (143, [])
    run = start(market, out, batches=1)
    for member in [psutil.Process(run.process.pid), *run.family()]:
        member.terminate()
    assert run.end(60) == (143, [])
    assert list(temporary.iterdir()) == []
