"""The command line's frame: every end is an exit code and at most one line."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streambt_spark import doctor, errors
from streambt_spark.cli import main
from streambt_spark.cli.app import _run


def _raise(error: BaseException) -> Callable[..., list[doctor.Check]]:
    def examine(servers: object) -> list[doctor.Check]:
        raise error

    return examine


def _classes(root: type[errors.StreambtError]) -> list[type[errors.StreambtError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _classes(child))]


@pytest.mark.parametrize("kind", _classes(errors.StreambtError), ids=lambda kind: kind.__name__)
def test_our_errors_are_one_masked_line(
    kind: type[errors.StreambtError],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every error of ours ends with its exit code and one line without a secret."""
    monkeypatch.setattr(doctor, "examine", _raise(kind("no\nanswer from mongodb://me:pw@h")))
    assert _run(["doctor"]) == kind.exit_code != 0
    assert capsys.readouterr().err == "streambt: no answer from mongodb://***@h\n"


def test_unexpected_errors_leave_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A fault of the program itself is one line, and the masked traceback is in a private file."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(doctor, "examine", _raise(RuntimeError("token=abcdef")))
    assert _run(["doctor"]) == 70
    line = capsys.readouterr().err
    found = re.fullmatch(r"streambt: RuntimeError: token=\*\*\*; details in (.+)\n", line)
    assert found is not None
    log = Path(found[1])
    assert log.stat().st_mode & 0o077 == 0
    assert "Traceback" in log.read_text()
    assert "abcdef" not in log.read_text()


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--debug adds the traceback of an error of ours."""
    monkeypatch.setattr(doctor, "examine", _raise(errors.NoData("nothing")))
    assert _run(["--debug", "doctor"]) == errors.NoData.exit_code
    assert "Traceback" in capsys.readouterr().err


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with 130 and says so."""
    monkeypatch.setattr(doctor, "examine", _raise(KeyboardInterrupt()))
    assert _run(["doctor"]) == 130
    assert capsys.readouterr().err == "streambt: interrupted\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["dctor"],
            "streambt: No such command 'dctor'. Did you mean 'doctor'? (streambt --help)\n",
        ),
        (["doctor", "--nope"], "streambt: No such option: --nope (streambt --help)\n"),
    ],
)
def test_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command or option is one line and exit 2."""
    assert _run(words) == 2
    assert capsys.readouterr().err == message


def test_main_returns_or_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that calls main sees a plain return after success and SystemExit otherwise."""
    before = signal.getsignal(signal.SIGTERM)
    good = doctor.Check("x", doctor.State.OK, "")
    bad = doctor.Check("x", doctor.State.MISSING, "")
    try:
        monkeypatch.setattr(doctor, "examine", lambda servers: [good])
        main(["doctor"])
        monkeypatch.setattr(doctor, "examine", lambda servers: [good, bad])
        with pytest.raises(SystemExit, match="1"):
            main(["doctor"])
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_closed_pipe_is_no_error() -> None:
    """A reader that stops early, as head does, leaves no message."""
    code = "import os, sys; from streambt_spark.cli import main; os.close(0); main(['--help'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_doctor_tells_the_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without Java the doctor fails and gives the command that installs it."""
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    assert _run(["doctor"]) == 1
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.split()[:1] == ["Java"]]
    assert "missing" in line
    assert "openjdk-17" in line


def test_doctor_looks_at_servers(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that was named and does not answer is missing, with its address and no login."""
    assert _run(["doctor", "--mongo", "mongodb://me:hunter22@127.0.0.1:1/"]) == 1
    out = capsys.readouterr().out
    assert "MongoDB 127.0.0.1" in out
    assert "hunter22" not in out


@pytest.mark.parametrize(
    ("address", "shown", "cause"),
    [
        (
            "mongodb://user:pa/ss@h",
            "mongodb://***@h",
            "a / in the user or password must be written %2F",
        ),
        ("mongodb://h:99999", "mongodb://h:99999", "Port must be an integer between 0 and 65535"),
    ],
)
def test_doctor_refuses_an_address_it_cannot_read(
    address: str, shown: str, cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A malformed address is one line, without its login."""
    assert _run(["doctor", "--mongo", address]) == 2
    assert capsys.readouterr().err == (
        f"streambt: MongoDB address {shown} is not understood: {cause}; "
        "write mongodb://host:27017\n"
    )
