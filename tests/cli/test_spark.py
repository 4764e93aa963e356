"""The commands that start Spark: run, demo, live and the jobs, each held against the local run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from streambt_spark.cli.demo import MARKER
from tests.cli.conftest import Command
from tests.services.kafka import KafkaBroker

ROOT = Path(__file__).parents[2]
RUN = ("run", "sma.py", "--bars", "bars.csv", "--interval", "1d")


def _manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def _digest(folder: Path) -> str:
    return str(_manifest(folder)["digest"])


@pytest.mark.spark
def test_spark_is_the_local_run(streambt: Command, place: Path) -> None:
    """Spark gives the local run's ledger, also when run again; another run is refused."""
    assert streambt(*RUN, "--out", "local").returncode == 0
    spark = (*RUN, "--engine", "spark", "--slices-per-batch", "3", "--out", "spark")
    done = streambt(*spark)
    assert done.returncode == 0, done.stderr
    assert _digest(place / "spark") == _digest(place / "local")
    assert streambt("compare", "local", "spark").returncode == 0
    lines = (place / "spark" / "progress.jsonl").read_text().splitlines()
    assert [json.loads(line)["slices"] for line in lines if line][-1] == 7
    assert streambt(*spark).returncode == 0
    assert _digest(place / "spark") == _digest(place / "local")
    (place / "spark" / "manifest.json").unlink()
    other = streambt(*spark, "--set", "fast=1")
    assert other.returncode == 1
    assert "belongs to another run" in other.stderr
    assert other.stderr.count("\n") == 1
    for words, message in (
        (("--set", "fast=1", "--checkpoint", "spark/checkpoint"), "belongs to another run"),
        (("--speed", "2", "--bars-per-second", "3"), "bars_per_second"),
        (("--ledger", "spark/ledger"), "ledger holds the spark run"),
    ):
        refused = streambt(*RUN, "--engine", "spark", *words, "--out", "refused")
        assert refused.returncode in (1, 2), refused.stderr
        assert message in refused.stderr
        assert not (place / "refused").exists()


LIBRARY = """
import tempfile
from pathlib import Path

import sma
from streambt_spark import Cerebro

cerebro = Cerebro()
sma.build(cerebro, cerebro.add_data("bars.csv", interval="1d"))
result = cerebro.run("spark", master="local[1]")
(folder,) = Path(tempfile.gettempdir()).glob("streambt-*")
assert (folder / "ledger").is_dir()
print(result.digest)
"""


@pytest.mark.spark
def test_a_run_without_a_folder_leaves_nothing(streambt: Command, place: Path) -> None:
    """The command's temporary folder goes with it, a library's with the process, for its result
    reads the ledger when asked.
    """
    (temporary := place / "tmp").mkdir()
    local = streambt(*RUN)
    done = streambt(*RUN, "--engine", "spark", TMPDIR=str(temporary))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == local.stdout
    assert list(temporary.iterdir()) == []
    done = subprocess.run(
        [sys.executable, "-c", LIBRARY],
        cwd=place,
        env=os.environ | {"TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout) == 65
    assert list(temporary.iterdir()) == []


TWO = """
from streambt_spark.allocation import FixedSize


def allocate(strength, portfolio, bars):
    if portfolio.ts >= 1704326400000000:  # 2024-01-04
        raise ValueError("boom")
    return {"A": 10}


def build(cerebro, bars):
    pulse = cerebro.add_indicator("MOM", bars["close"], timeperiod=1)
    cerebro.add_strat(pulse, allocate)
    cerebro.add_strat(pulse, FixedSize(1))
"""


@pytest.mark.spark
def test_what_a_strategy_raises_is_told_by_both_engines(streambt: Command, place: Path) -> None:
    """The same line and exit code, a count in the batch's report, and the other strategy goes on,
    here in a block of its own.
    """
    (place / "two.py").write_text(TWO)
    run = ("run", "two.py", *RUN[2:])
    local = streambt(*run, "--out", "local")
    spark = streambt(*run, "--engine", "spark", "--blocks", "2", "--out", "spark")
    assert (local.returncode, spark.returncode) == (1, 1)
    assert spark.stderr == local.stderr
    assert spark.stderr.startswith("streambt: 1 of 2 strategies raised and placed no more orders")
    assert _digest(place / "spark") == _digest(place / "local")
    errors = [_manifest(place / name)["errors"] for name in ("local", "spark")]
    assert errors[0] == errors[1]
    lines = (place / "spark" / "progress.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["disabled"] for line in lines) == 1


@pytest.mark.spark
@pytest.mark.store
def test_demo(streambt: Command, place: Path) -> None:
    """The demo runs the whole chain; it replaces a demo's folder and no other."""
    for name in ("mine", "demo-run"):
        (place / name).mkdir()
        (place / name / "file").touch()
    (place / "demo-run" / MARKER).touch()
    assert streambt("demo", "--out", "mine").returncode == 1
    done = streambt("demo", "--bars", "bars.csv", "--set", "fast=2", "--set", "slow=3")
    assert done.returncode == 0, done.stderr
    assert "MongoDB: rows read 14 = accepted 14" in done.stdout
    assert "the local engine's ledger is the same, to the bit" in done.stdout
    assert _digest(place / "demo-run" / "run") in done.stdout
    assert not (place / "demo-run" / "file").exists()
    assert (place / "mine" / "file").exists()


@pytest.mark.spark
@pytest.mark.store
def test_live(streambt: Command, place: Path, kafka: KafkaBroker) -> None:
    """Bars through Kafka give the local run's ledger, and a run that has ended stays as it is."""
    assert streambt(*RUN, "--out", "local").returncode == 0
    snapshot = _snapshot(streambt, place)
    to = ("--bootstrap", kafka.bootstrap, "--topic", "cli-live")
    sent = streambt("replay-to-kafka", "--snapshot", snapshot, *to)
    assert sent.stdout.startswith("sent 14 bars, 0 heartbeats and 2 end markers"), sent.stderr
    live = ("live", "sma.py", *to, "--interval", "1d", "--symbols", "A,B", "--out", "live")
    for _ in range(2):
        done = streambt(*live)
        assert done.returncode == 0, done.stderr
        assert _digest(place / "live") == _digest(place / "local")
    missing = streambt(*live[:5], "no-such-topic", *live[6:-1], "other")
    assert missing.returncode == 65
    assert not (place / "other").exists()


@pytest.mark.spark
def test_the_job_runs_under_spark_submit(streambt: Command, place: Path) -> None:
    """jobs/backtest.py under spark-submit gives the local run's ledger."""
    assert streambt(*RUN, "--out", "local").returncode == 0
    submit = shutil.which("spark-submit", path=str(Path(sys.executable).parent))
    assert submit is not None
    done = subprocess.run(
        [
            submit, "--properties-file", str(ROOT / "conf" / "spark-defaults.conf"),
            str(ROOT / "jobs" / "backtest.py"), *(_absolute(place, word) for word in RUN[1:]),
            "--out", str(place / "job"),
        ],
        cwd=ROOT,
        env=os.environ | {"PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert _digest(place / "job") == _digest(place / "local")


@pytest.mark.spark
def test_interrupt_and_resume(streambt: Command, place: Path) -> None:
    """Ctrl-C ends a run with 130 and no traceback; the same call resumes it."""
    assert streambt(*RUN, "--out", "local").returncode == 0
    spark = (*RUN, "--engine", "spark", "--slices-per-batch", "1", "--out", "spark")
    words = (sys.executable, "-c", "from streambt_spark.cli import main; main()")
    with subprocess.Popen(
        [*words, *spark, "--bars-per-second", "1"],
        cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 120
        while not (place / "spark" / "progress.jsonl").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the JVM and the workers too
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "streambt: interrupted\n")
    done = streambt(*spark)
    assert done.returncode == 0, done.stderr
    assert _digest(place / "spark") == _digest(place / "local")


def _absolute(place: Path, word: str) -> str:
    return str(place / word) if (place / word).exists() else word


def _snapshot(streambt: Command, place: Path) -> str:
    assert streambt("ingest", "bars.csv", "--interval", "1d").returncode == 0
    assert streambt("export", "lake", "--interval", "1d").returncode == 0
    return f"{place}/lake/bars/1"
