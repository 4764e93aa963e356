"""`streambt run`, `show`, `compare` and `validate` without Spark: folders, lines and exit codes."""

import csv
import html
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from streambt_spark import __version__
from streambt_spark.cli import backtest
from streambt_spark.cli.app import _run
from streambt_spark.stores.generator import generate
from streambt_spark.stores.lake import bars_to_batches, write_snapshot
from tests.cli.conftest import BARS, STRATEGY, Command
from tests.commands import STREAMBT

RUN = ("run", "sma.py", "--bars", "bars.csv", "--interval", "1d")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_its_folder(streambt: Command, place: Path) -> None:
    """A run's folder has manifest, figures, CSV views, report and ledger, and they agree."""
    done = streambt(*RUN, "--cash", "1000", "--set", "slow=4", "--out", "out")
    assert done.returncode == 0, done.stderr
    out = place / "out"
    assert {p.name for p in out.iterdir()} == {
        "manifest.json", "metrics.json", "fills.csv", "orders.csv", "equity.csv", "report.html",
        "ledger", "_run.json",
    }  # fmt: skip
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["counts"] == {
        "read": 14, "accepted": 14, "duplicate": 0, "late": 0, "rejected": 0, "revised": 0,
    }  # fmt: skip
    assert manifest["parameters"] == {"slow": 4}
    assert f"digest {manifest['digest']}" in done.stdout
    assert f"report {out / 'report.html'}" in done.stdout
    metrics = json.loads((out / "metrics.json").read_text())
    fills, equity = _rows(out / "fills.csv"), _rows(out / "equity.csv")
    assert list(fills[0]) == [
        "lane", "ts", "symbol", "side", "quantity", "price", "commission", "order_id",
    ]  # fmt: skip
    assert list(equity[0]) == ["lane", "ts", "cash", "equity", "drawdown"]
    assert len(fills) == metrics["fills"] > 0
    assert len(equity) == 7
    assert float(equity[-1]["equity"]) == metrics["final"]
    assert (equity[0]["ts"], equity[0]["equity"]) == ("2024-01-01T00:00:00Z", "1000.0")
    assert {fill["lane"] for fill in fills} == set(manifest["lanes"]) == set(metrics["lanes"])


def test_again_is_equal_and_other_settings_differ(streambt: Command) -> None:
    """The same run again has the same digest; another one is told apart, with what differs."""
    for out, fast in (("a", "2"), ("b", "2"), ("c", "1")):
        assert streambt(*RUN, "--set", f"fast={fast}", "--out", out).returncode == 0
    same = streambt("compare", "a", "b")
    assert (same.returncode, same.stdout.split(":")[0]) == (0, "equal")
    other = streambt("compare", "a", "c")
    assert other.returncode == 1
    assert "parameters.fast: 2 against 1" in other.stdout
    assert "different from event" in other.stdout


def test_a_folder_is_kept_for_its_run(streambt: Command, place: Path) -> None:
    """A folder takes the same run again, refuses another one, and stays as it was."""
    assert streambt(*RUN, "--out", "a").returncode == 0
    assert streambt(*RUN, "--out", "a").returncode == 0
    before = (place / "a" / "manifest.json").read_bytes()
    refused = streambt(*RUN, "--set", "fast=1", "--out", "a")
    assert refused.returncode == 1
    assert "holds the local run" in refused.stderr
    assert (place / "a" / "manifest.json").read_bytes() == before


def test_a_folder_can_be_given_as_an_address(streambt: Command, place: Path) -> None:
    """file:// is the folder that it names."""
    assert streambt(*RUN, "--out", f"{place.as_uri()}/a").returncode == 0
    assert (place / "a" / "manifest.json").exists()
    assert not (place / "file:").exists()


def test_a_ledger_is_kept_for_its_run(streambt: Command, place: Path) -> None:
    """--ledger takes the same run again and refuses another; a changed ledger is not compared."""
    assert streambt(*RUN, "--out", "a", "--ledger", "led").returncode == 0
    assert streambt(*RUN, "--out", "a", "--ledger", "led").returncode == 0
    refused = streambt(*RUN, "--set", "fast=1", "--out", "b", "--ledger", "led")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert f"{place}/led holds the local run" in refused.stderr
    assert not (place / "b").exists()
    assert streambt(*RUN, "--out", "b").returncode == 0
    assert streambt("compare", "a", "b").returncode == 0
    assert streambt(*RUN, "--set", "fast=1", "--out", "c").returncode == 0
    (place / "b" / "ledger").rename(place / "gone")
    (place / "c" / "ledger").rename(place / "b" / "ledger")
    changed = streambt("compare", "a", "b")
    assert (changed.returncode, changed.stdout) == (65, "")
    assert "it was changed after the run" in changed.stderr


def test_a_copied_ledger_is_not_overwritten(streambt: Command, place: Path) -> None:
    """It has no mark that tells whose it is; deleted, its place can be written."""
    assert streambt(*RUN, "--out", "a").returncode == 0
    shutil.copytree(place / "a" / "ledger", place / "copy")
    run = (*RUN, "--set", "fast=1", "--out", "b", "--ledger", "copy")
    refused = streambt(*run)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert f"{place}/copy holds a table that no run has marked as its ledger" in refused.stderr
    assert not (place / "b").exists()
    shutil.rmtree(place / "copy")
    assert streambt(*run).returncode == 0


def test_a_snapshot_without_a_wanted_symbol_is_refused(streambt: Command, place: Path) -> None:
    """Symbols are chosen in any case, and one that is not there is named."""
    bars = generate(2, 30, "1d", 7)
    write_snapshot(bars_to_batches(bars), place / "bars", interval="1d")
    run = ("run", "sma.py", "--snapshot", "bars")
    assert streambt(*run, "--symbols", "s001", "--out", "a").returncode == 0
    assert json.loads((place / "a" / "manifest.json").read_text())["symbols"] == ["S001"]
    refused = streambt(*run, "--symbols", "S001,XYZ", "--out", "b")
    assert refused.returncode == 65
    assert "has no bars of XYZ; it has S000, S001" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [(("--speed", "2", "--record", "metrics"), 0), (("--cash", "abc"), 2), (("--bars", "no"), 65)],
)
def test_remarks_that_nobody_reads_end_nothing(
    place: Path, words: tuple[str, ...], code: int
) -> None:
    """The run writes its folder and prints its results, and its exit code is its own."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [STREAMBT, *RUN, *words, "--out", "out"],
            cwd=place,
            stdout=subprocess.PIPE,
            stderr=gone,
            text=True,
            check=False,
        )
    assert done.returncode == code
    assert ("results" in done.stdout) == (place / "out" / "manifest.json").exists() == (code == 0)


def test_a_run_without_a_standard_error(place: Path) -> None:
    """Started with the stream closed, it runs, and its results go where they belong."""
    command = f"{STREAMBT} {' '.join(RUN)} --record metrics --out out 2>&-"
    done = subprocess.run(
        ["sh", "-c", command], cwd=place, stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-2:] == [
        f"results {place}/out", f"report {place}/out/report.html"
    ]  # fmt: skip


def test_results_are_written_before_anything_is_said_of_them(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever becomes of the output, the folder is whole."""
    said: dict[str, bool] = {}
    manifest = place / "out" / "manifest.json"
    monkeypatch.setattr(
        backtest, "remark", lambda text: said.setdefault(text, manifest.exists()) and None
    )
    monkeypatch.chdir(place)
    assert _run([*RUN, "--record", "metrics", "--out", "out"]) == 0
    assert said
    assert all(said.values())


def test_show(streambt: Command) -> None:
    """show prints the figures, the counts and the digest of a finished run."""
    streambt(*RUN, "--out", "a")
    done = streambt("show", "a")
    assert done.returncode == 0
    assert "Total return" in done.stdout
    assert "read 14, accepted 14" in done.stdout


def test_profile_environment_and_option(streambt: Command, place: Path) -> None:
    """A whole run can come from a profile; the environment and an option override it."""
    (place / "p.yaml").write_text(
        "data: {bars: bars.csv, interval: 1d, symbols: [A]}\nbroker: {cash: 5}\n"
        "run: {strategy: sma.py, parameters: {fast: 1}, out: made}\n"
    )
    shown = streambt("run", "--profile", "p.yaml", "--cash", "7", "--show-config")
    assert "cash: 7.0                                # --cash" in shown.stdout
    done = streambt("run", "--profile", "p.yaml", "--cash", "7", STREAMBT_DATA_SYMBOLS="B")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((place / "made" / "manifest.json").read_text())
    assert manifest["symbols"] == ["B"]
    assert manifest["settings"]["broker"]["cash"] == 7.0


def test_bad_rows_are_told(streambt: Command, place: Path) -> None:
    """A file with bad rows runs; they are in quarantine with reasons, and the counts add up."""
    more = "A,2024-01-08,0,1,0,1,1\nA,2024-01-07,9,12,9,12,100\nB,2024-01-07,24,24,20,22,100\n"
    (place / "bars.csv").write_text(BARS + more)
    assert streambt(*RUN, "--out", "a").returncode == 0
    counts = json.loads((place / "a" / "manifest.json").read_text())["counts"]
    assert counts == {
        "read": 17, "accepted": 15, "duplicate": 1, "late": 0, "rejected": 1, "revised": 1,
    }  # fmt: skip
    (row,) = _rows(place / "a" / "quarantine.csv")
    assert (row["row"], row["reason"]) == ("15", "non_positive_price")
    checked = streambt("validate", "bars.csv", "--interval", "1d")
    assert checked.returncode == 1
    assert "non_positive_price: 1" in checked.stdout


def test_what_the_local_engine_leaves_out_is_told(streambt: Command) -> None:
    """A pace or blocks are Spark's; a run without them is the same, and says so."""
    done = streambt(*RUN, "--speed", "5", "--blocks", "2")
    assert done.returncode == 0
    assert [line.partition(";")[0] for line in done.stderr.splitlines()] == [
        "the local engine is not paced",
        "the local engine runs all strategies in one process",
    ]


def test_no_cell_is_a_formula(streambt: Command, place: Path) -> None:
    """A symbol that a spreadsheet would run is kept as text; that of crypto is as it was."""
    bad = "2024-01-08,0,1,0,1,1"
    rows = f'"=CMD(1)",{bad}\n"+1",{bad}\n@BTCUSD,{bad}\n'
    (place / "bars.csv").write_text(BARS + rows)
    assert streambt(*RUN, "--out", "out").returncode == 0
    symbols = [row["symbol"] for row in _rows(place / "out" / "quarantine.csv")]
    assert symbols == ["'=CMD(1)", "'+1", "@BTCUSD"]


def test_counts_are_always_told(streambt: Command, place: Path) -> None:
    """A run says what became of its rows, and warns where more than one of a hundred is refused."""
    done = streambt(*RUN)
    line = "rows read 14 = accepted 14 + duplicate 0 + late 0 + rejected 0; revised 0"
    assert line in done.stdout.splitlines()
    assert done.stderr == ""
    (place / "bars.csv").write_text(BARS + "A,2024-01-08,0,1,0,1,1\n")
    done = streambt(*RUN, "--out", "out")
    line = "rows read 15 = accepted 14 + duplicate 0 + late 0 + rejected 1; revised 0"
    assert line in done.stdout.splitlines()
    assert done.stderr == (
        f"warning: 1 of 15 rows (6.7%) were rejected; {place}/out/quarantine.csv has them\n"
    )


RAISES = """
def allocate(strength, portfolio, bars):
    if portfolio.ts >= 1704326400000000:  # 2024-01-04
        raise ValueError("boom, token=canary")
    return {"A": 10}


def build(cerebro, bars, **more):
    pulse = cerebro.add_indicator("MOM", bars["close"], timeperiod=1)
    cerebro.add_strat(pulse, allocate)
"""


def test_a_strategy_that_raises_is_told(streambt: Command, place: Path) -> None:
    """Its error is on screen and in the manifest, the results are there, and the exit code is 1."""
    (place / "raises.py").write_text(RAISES)
    done = streambt("run", "raises.py", *RUN[2:], "--out", "out")
    manifest = json.loads((place / "out" / "manifest.json").read_text())
    (error,) = manifest["errors"]
    assert (error["lane"], error["ts"]) == (manifest["lanes"][0], "2024-01-04T00:00:00Z")
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"streambt: 1 of 1 strategies raised and placed no more orders; strategy "
        f"{error['lane'][:12]} was disabled at 2024-01-04T00:00:00Z: "
    )
    line = 1 + RAISES.splitlines().index('        raise ValueError("boom, token=canary")')
    assert error["text"] == f"ValueError: boom, token=*** (raises.py line {line})"
    assert error["text"] in done.stderr
    report = (place / "out" / "report.html").read_text()
    assert error["text"] in html.unescape(report)
    assert done.stderr.count("\n") == 1
    assert "canary" not in done.stderr + json.dumps(manifest) + report
    assert len(_rows(place / "out" / "fills.csv")) == 1
    assert (place / "out" / "report.html").exists()


def test_a_strategy_is_looked_at_before_the_bars(streambt: Command, place: Path) -> None:
    """A mistake in it is told at once, and not after the reading of many bars."""
    (place / "sma.py").write_text("def build(cerebro, bars:\n")
    done = streambt("run", "sma.py", "--bars", "no.csv", "--interval", "1d")
    assert (done.returncode, done.stderr[:29]) == (1, "streambt: sma.py:1: SyntaxErr")


def test_secret_parameters_are_in_no_file(streambt: Command, place: Path) -> None:
    """A parameter called as a secret reaches the strategy and is masked wherever it is shown."""
    text = STRATEGY.replace("slow=3):", "slow=3, api_key=''):\n    assert api_key == 'canary1'")
    (place / "sma.py").write_text(text)
    done = streambt(*RUN, "--set", "api_key=canary1", "--set", "fast=2", "--out", "out")
    assert done.returncode == 0, done.stderr
    for file in ("manifest.json", "report.html"):
        assert "canary1" not in (place / "out" / file).read_text()
    manifest = json.loads((place / "out" / "manifest.json").read_text())
    assert manifest["parameters"] == {"api_key": "***", "fast": 2}


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
    ids=["posix", "latin-1"],
)
def test_any_output_encoding_will_do(
    streambt: Command, place: Path, variables: dict[str, str]
) -> None:
    """A sign that the output cannot take is a plain one, and not the end of a run that is done."""
    done = streambt(*RUN, "--out", "out", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    metrics = json.loads((place / "out" / "metrics.json").read_text())
    assert f" -{-metrics['total_return']:.2%}".replace("%", " %") in done.stdout
    shown = streambt("run", "--help", **variables)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "HOST:PORT,..." in streambt("live", "--help", **variables).stdout


def test_the_version(streambt: Command) -> None:
    """`streambt --version` is one line."""
    done = streambt("--version")
    assert (done.returncode, done.stdout) == (0, f"streambt {__version__}\n")


def test_validate_a_strategy(streambt: Command) -> None:
    """A strategy file is checked without any bar: its graph is built."""
    done = streambt("validate", "sma.py", "--set", "fast=5")
    assert (done.returncode, done.stdout) == (
        0,
        "sma.py: 1 strategies on 3 nodes: SMA, SMA, cross\n",
    )
    assert streambt("validate", "sma.py", "--set", "fast=-1").returncode == 2


def _strategy(line: str) -> dict[str, str]:
    return {"sma.py": f"def build(cerebro, bars):\n    {line}\n"}


@pytest.mark.parametrize(
    ("files", "words", "code", "message"),
    [
        ({}, ("--bars", "no.csv"), 65, "no such file or folder: no.csv"),
        ({"bars.csv": "a,b\n1,2\n"}, (), 65, "bars.csv"),
        ({"bars.csv": ""}, (), 65, "bars.csv is empty"),
        ({"bars.csv": BARS.replace("2024-", "x-")}, (), 65, "bars.csv: not one of 14 times"),
        (
            _strategy("cerebro.add_indicator('SMAA', bars['close'])"),
            (),
            2,
            "sma.py:2: TA-Lib has no",
        ),
        (
            _strategy("bars['clos']"),
            (),
            2,
            "sma.py:2: bars has no column 'clos' (did you mean close?)",
        ),
        (
            _strategy(
                "cerebro.add_indicator('SMA', 'y', name='x')"
                "; cerebro.add_strat(cerebro.add_indicator('SMA', 'x', name='y'), None)"
            ),
            (),
            2,
            "sma.py:2: an indicator depends on itself",
        ),
        (_strategy("raise ValueError('boom')"), (), 1, "sma.py:2: ValueError: boom"),
        (_strategy("pass"), (), 2, "no strategy was added"),
        ({"sma.py": STRATEGY}, ("--set", "fsat=2"), 2, "--set fsat: build of sma.py has no such"),
        ({}, ("--out", "bars.csv/x"), 1, "--out "),
        ({}, ("--out", "s3a://b/x"), 2, "--out s3a://b/x is no folder of this machine"),
        ({}, ("--cash", "abc"), 2, "--cash: found 'abc', expected a valid number"),
        ({}, ("--commission", "abc"), 2, "commission 'abc' is not understood"),
        ({}, ("--symbols", "A,C"), 65, "bars.csv has no bar of C"),
        ({}, ("--engine", "spark"), 69, "JAVA_HOME is /nowhere"),
        ({}, ("--snapshot", "x"), 2, "both of --bars FILE and --snapshot ADDRESS given"),
    ],
)
def test_bad_input(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: Path,
    files: dict[str, str],
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    """Bad input ends with one clear line and its exit code, and leaves nothing behind."""
    for name, text in files.items():
        (place / name).write_text(text)
    before = _seen(place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    found = _run([*RUN, "--out", "out", *words])
    said = capsys.readouterr()
    assert said.err.startswith(f"streambt: {message}")
    assert (found, said.err.count("\n"), said.out) == (code, 1, "")
    assert _seen(place) == before


def _seen(folder: Path) -> dict[Path, int]:
    files = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {path: path.stat().st_mtime_ns for path in files}
