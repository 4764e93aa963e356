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


def test_a_password_with_a_slash_is_never_shown(streambt: Command, place: Path) -> None:
    """An address whose login is not escaped is refused in a line, and printed, without it."""
    words = ("ingest", "bars.csv", "--interval", "1d", "--mongo", "mongodb://user:pa/ssw0rd@h/")
    done = streambt(*words)
    assert done.returncode == 2
    assert done.stderr == (
        "streambt: MongoDB address mongodb://***@h/ is not understood: a / in the user or "
        "password must be written %2F; write mongodb://host:27017\n"
    )
    shown = streambt(*words, "--show-config")
    assert "  address: mongodb://***@h/ " in shown.stdout
    assert "ssw0rd" not in shown.stdout + shown.stderr


BAD_FILES = pytest.mark.parametrize(
    ("file", "message"),
    [
        ("nofile.csv", "no such file or folder: nofile.csv; check the path"),
        (
            "half.csv",
            (
                "half.csv lacks low, close, volume: found symbol, ts, open, high, expected symbol, "
                "ts or session, open, high, low, close, volume (other names can be mapped)"
            ),
        ),
    ],
)


@BAD_FILES
def test_ingest_looks_at_the_file_before_the_store(
    streambt: Command, place: Path, file: str, message: str
) -> None:
    """No private server is started for a file that cannot be read."""
    (place / "half.csv").write_text("symbol,ts,open,high\nA,2024-01-01,10,12\n")
    done = streambt("ingest", file, "--interval", "1d")
    assert (done.returncode, done.stdout) == (65, "")
    assert done.stderr == f"streambt: {message}\n"
    assert not (place / "streambt-mongo").exists()


@BAD_FILES
def test_demo_looks_at_the_file_before_the_folder(
    streambt: Command, place: Path, file: str, message: str
) -> None:
    """The last demo stays, and no folder is made, where --bars cannot be read."""
    (place / "half.csv").write_text("symbol,ts,open,high\nA,2024-01-01,10,12\n")
    (place / "last").mkdir()
    for name in (".streambt-demo", "report.html"):
        (place / "last" / name).touch()
    for folder in ("last", "new"):
        done = streambt("demo", "--bars", file, "--out", folder)
        assert (done.returncode, done.stdout) == (65, "")
        assert done.stderr == f"streambt: {message}\n"
    assert sorted(p.name for p in (place / "last").iterdir()) == [".streambt-demo", "report.html"]
    assert not (place / "new").exists()


def test_demo_never_deletes_its_bars(streambt: Command, place: Path) -> None:
    """A file in the demo's own folder, which is made anew, is refused."""
    (place / "last").mkdir()
    (place / "last" / ".streambt-demo").touch()
    (place / "bars.csv").rename(place / "last" / "bars.csv")
    done = streambt("demo", "--bars", "last/bars.csv", "--out", "last")
    assert done.returncode == 2
    assert "which the demo makes anew; move it away" in done.stderr
    assert (place / "last" / "bars.csv").is_file()
