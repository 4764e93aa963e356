"""`streambt ingest` and `export` with a private MongoDB server, and without one."""

from pathlib import Path

import pytest

from tests.cli.conftest import BARS, Command


@pytest.mark.store
def test_ingest_export_run(streambt: Command, place: Path) -> None:
    """Bars go into the store once, come out as a snapshot, and give the run of the file."""
    words = ("bars.csv", "--interval", "1d")
    first = streambt("ingest", *words)
    assert first.stdout.startswith("rows read 14 = accepted 14 + duplicate 0"), first.stderr
    (place / "bars.csv").write_text(BARS.replace("A,2024-01-02,11,13", "A,2024-01-02,11,14"))
    again = streambt("ingest", *words)
    assert "accepted 1 + duplicate 13 + late 0 + rejected 0; revised 1" in again.stdout
    made = streambt("export", "lake", "--interval", "1d")
    path = f"{place}/lake/bars/1"
    assert made.stdout == f"14 bars of 2 symbols in {path}\n", made.stderr
    run = ("run", "sma.py", "--interval", "1d", "--out")
    assert streambt(*run, "file", "--bars", "bars.csv").returncode == 0
    assert streambt(*run, "snapshot", "--snapshot", path).returncode == 0
    assert streambt("compare", "file", "snapshot").returncode == 0
    none = streambt("export", "lake", "--interval", "1h")
    assert none.returncode == 65
    assert [p.name for p in (place / "lake" / "bars").iterdir()] == ["1"]


def test_no_server(streambt: Command, place: Path) -> None:
    """A server that does not answer is told in bounded time, without its login."""
    done = streambt(
        "ingest", "bars.csv", "--interval", "1d", "--timeout", "1",
        STREAMBT_MONGO_ADDRESS="mongodb://me:hunter22@127.0.0.1:1",
    )  # fmt: skip
    assert done.returncode == 75
    assert done.stderr.startswith("streambt: MongoDB at mongodb://***@127.0.0.1:1 did not answer")
    assert "hunter22" not in done.stderr + done.stdout
    assert not (place / "streambt-mongo").exists()
