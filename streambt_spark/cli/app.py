"""The application: its commands, and how every error ends as one line and an exit code.

0    done
1    the run failed, or two runs differ
2    a wrong option, setting or strategy
65   the bars, or a ledger, cannot be used
69   something is not installed, or too small
70   a fault of this program; the line names a log
74   a store refuses or is damaged
75   what may pass: a store or broker that does not answer, another run in the same folder, a full
     disk, a killed process; the same command goes on
130  Ctrl-C
143  SIGTERM, as a scheduler stops a job: the batch is dropped, and the same command goes on
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from streambt_spark.cli import data, demo, live, machine, runs
from streambt_spark.cli.output import open_all, write_any_text
from streambt_spark.errors import StreambtError
from streambt_spark.masking import mask

USAGE = 2
INTERNAL = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130
TERMINATED = 143

app = typer.Typer(
    name="streambt",
    help="Backtest, paced replay and live trading as one Spark Structured Streaming job.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for group in (data, runs, live, demo, machine):
    group.register(app)


def _version(asked: bool) -> None:
    if asked:
        from streambt_spark import __version__  # reads the installed metadata

        typer.echo(f"streambt {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="STREAMBT_DEBUG", help="Show tracebacks.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Leave `debug` to `main`, which must know it even when parsing fails."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; return after success, raise SystemExit with the code otherwise.

    A scheduler that calls this as a function must see a failure as an exception and a success as a
    plain return.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    open_all()
    write_any_text()
    signal.signal(signal.SIGTERM, _terminate)
    code = _run(words)
    if code:
        sys.exit(code)


def _run(words: list[str]) -> int:
    debug = bool(os.environ.get("STREAMBT_DEBUG")) or words[:1] == ["--debug"]
    try:
        code = typer.main.get_command(app).main(words, prog_name="streambt", standalone_mode=False)
        sys.stdout.flush()
    except StreambtError as error:
        if debug:
            _say(traceback.format_exc())
        return _fail(error.exit_code, str(error))
    except TyperException as error:
        message = error.format_message()  # empty where the help itself was the answer
        return _fail(USAGE, f"{message} (streambt --help)") if message else USAGE
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, "interrupted")
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            _say(traceback.format_exc())
        return _fail(INTERNAL, f"{type(error).__name__}: {error}; details in {_log()}")
    if code == INTERRUPTED:  # so typer tells of Ctrl-C inside a command
        return _fail(INTERRUPTED, "interrupted")
    return code if isinstance(code, int) else 0


def _fail(code: int, message: str) -> int:
    _say(f"streambt: {' '.join(message.split())}")
    return code


def _say(text: str) -> None:
    with suppress(OSError):  # the exit code says it too
        print(mask(text), file=sys.stderr, flush=True)


def _log() -> str:
    """Write the traceback to a new file that only its owner reads; return its path."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="streambt-", suffix=".log", delete=False, encoding="utf-8", errors="replace"
    ) as file:
        file.write(mask(traceback.format_exc()))
    return file.name


def _terminate(*_: object) -> NoReturn:
    sys.exit(TERMINATED)  # unwinds, so that servers of our own are stopped
