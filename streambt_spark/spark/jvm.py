"""Spark's JVM: how it starts, what it leaves, and how it is known to have ended.

It works in a temporary folder of its own, which is gone with it. Where a JVM was killed together
with this process, the folder stays, without the lock that its owner held, and the next JVM to start
deletes it.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import TYPE_CHECKING

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.accumulators import AccumulatorTCPServer, AccumulatorUnixServer
from pyspark.errors import PySparkException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from streambt_spark.errors import SetupError
from streambt_spark.spark.archive import MAP, WRITE, ClassArchive
from streambt_spark.spark.java import Java

if TYPE_CHECKING:
    from py4j.java_gateway import JavaGateway

ENDS_IN, WRITES_IN = 10, 120
"""Seconds that the end of a JVM is waited for, and where it writes its archive."""

_FOLDER, _NEW = ".streambt-jvm-", ".streambt-new-"
"""How the folder is called once its lock is taken, and before: hidden, so that nobody types it."""
_LOCK = "lock"
_OURS = b"Held while a JVM of streambt works here.\n"
_NOISE = re.compile(
    r"Using incubator modules|Picked up (?:JAVA_TOOL|_JAVA|JDK_JAVA)_OPTIONS"
    r"|SLF4J: "  # from a copy inside the AWS bundle, which logs nowhere
)
_TRACE = re.compile(r"Exception in thread|\s+at \S+\(|Caused by: |\s+\.\.\. \d+ more|#")
"""What it says of its own end: where that is the run's, it is told in a line."""
_KEPT_LINES = 50
_OPTIONS = "spark.driver.extraJavaOptions"
_TELLING = re.compile(r"^(?:Error|#|Exception|Caused by|Unrecognized|Invalid|Could not)", re.I)
_MEMORY = re.compile(r"memory|heap|reserve|allocate", re.I)


@dataclass(frozen=True, slots=True)
class Folder:
    """A temporary folder that is held by a lock as long as its owner lives."""

    path: Path
    lock: int

    @classmethod
    def make(cls) -> Folder:
        """Make one, and delete those whose owners are gone."""
        root = Path(tempfile.gettempdir())
        for left in root.glob(f"{_FOLDER}*"):
            with suppress(OSError):
                cls(left, _locked(left)).delete()
        new = Path(tempfile.mkdtemp(prefix=_NEW))
        (new / _LOCK).write_bytes(_OURS)
        lock = _locked(new)
        # Not before: another start would find a folder that nobody holds.
        path = new.rename(new.with_name(new.name.replace(_NEW, _FOLDER, 1)))
        return cls(path, lock)

    def options(self) -> str:
        """Return the JVM's options to leave everything there."""
        return (
            f'"-Djava.io.tmpdir={self.path}" "-XX:ErrorFile={self.path}/error.log" '
            "-XX:-CreateCoredumpOnCrash -XX:+DisplayVMOutputToStderr"
        )

    def crash(self) -> Path | None:
        """Return where the JVM's report of its crash has been put, if there is one."""
        report = self.path / "error.log"
        if not report.is_file():
            return None
        descriptor, kept = tempfile.mkstemp(prefix="streambt-java-", suffix=".log")
        os.close(descriptor)
        return Path(shutil.copyfile(report, kept))

    def delete(self) -> None:
        """Delete it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def _locked(folder: Path) -> int:
    """Return the descriptor of a folder's lock, taken; raises OSError where it is not one of ours.

    The name alone proves nothing: what is deleted must hold a lock that this user's process wrote.
    """
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.getuid() or os.pread(descriptor, 99, 0) != _OURS:
            raise PermissionError(f"{folder} is another's")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Errors:
    """What the JVM writes to its standard error: kept until it runs, then passed on.

    Once it is `hushed` nothing is passed on any more.
    """

    def __init__(self) -> None:
        reading, self.descriptor = os.pipe()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._passing = False
        self.hushed = False
        self._guard = threading.Lock()
        self._reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._reader.start()

    def pass_on(self) -> None:
        """Write what was said, and what will be, to this process's standard error."""
        os.close(self.descriptor)
        with self._guard:
            self._passing = True
            _say("".join(self._lines))

    def reason(self) -> str:
        """Return why the JVM, which has ended, did not start."""
        os.close(self.descriptor)
        self._reader.join(2.0)
        lines = [line.strip() for line in self._lines if line.strip()]
        told = next((i for i, line in enumerate(lines) if _TELLING.search(line)), 0)
        text = " ".join(lines[told : told + 3])[:300] or "it said nothing"
        if _MEMORY.search(text) or not lines:
            return f"{text}; look at spark.driver.memory, and at how much memory is free"
        return f"{text}; `streambt doctor` checks this machine"

    def _read(self, descriptor: int) -> None:
        with open(descriptor, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if _NOISE.search(line):
                    continue
                with self._guard:
                    if not self._passing:
                        self._lines.append(line)
                    elif not self.hushed and not _TRACE.match(line):
                        _say(line)


def _say(text: str) -> None:
    """Write to this process's standard error; where nobody reads it, the JVM must not wait."""
    with suppress(OSError, ValueError, AttributeError):  # a closed pipe, file, or none at all
        sys.stderr.write(text)


@dataclass(eq=False, slots=True)
class Jvm:
    """A JVM of this process, with the jars it knows and the archive it writes."""

    gateway: JavaGateway
    jars: frozenset[Path] = frozenset()
    folder: Folder | None = None
    archive: ClassArchive | None = None
    errors: Errors | None = None
    _told: str | None = field(default=None, init=False)

    def answers(self) -> bool:
        """Return whether it can be worked with; one that was just killed is still being ended."""
        try:
            self.gateway.jvm.System.nanoTime()
        except (Py4JError, OSError):
            return False
        return True

    def hush(self) -> None:
        """Pass on nothing that it says from now on: what is stopped complains of what it lacks."""
        if self.errors is not None:
            self.errors.hushed = True

    def ended(self) -> str | None:
        """Return how it has ended, in words; None while it runs."""
        if self._told is None:
            try:
                code = self.gateway.proc.wait(timeout=1.0)  # its last words come before it is gone
            except TimeoutExpired:
                return None
            crash = self.folder and self.folder.crash()
            details = f", details in {crash}" if crash else ""
            self._told = f"Spark's Java process {_end(code)}{details}"
        return self._told

    def hurry(self) -> None:
        """End it without its archive, whose writing takes longer than a scheduler may wait.

        One that a session of the caller's works in is left: its end is not ours to hurry.
        """
        if self.archive is not None and SparkContext._active_spark_context is None:
            self.archive = None
            self.gateway.proc.kill()
            self.end()

    def end(self) -> None:
        """End it, if it has not ended, and delete its folder."""
        global _current
        atexit.unregister(self.end)
        process = self.gateway.proc
        with suppress(Exception):
            self.gateway.shutdown()
        with suppress(OSError, AttributeError):  # none where it was not started from here
            process.stdin.close()  # the JVM ends with its standard input
        if process is not None:
            self._await_end(process)
        if self.folder is not None:
            self.folder.delete()
        SparkContext._gateway = SparkContext._jvm = None
        _current = None

    def _await_end(self, process: Popen[str]) -> None:
        try:
            process.wait(timeout=ENDS_IN if self.archive is None else WRITES_IN)
        except (TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
        else:
            if self.archive is not None and not process.returncode:
                self.archive.seal()

    def forget(self) -> None:
        """Take it out of PySpark, which cannot stop what is gone, so that another can start."""
        context = SparkContext._active_spark_context
        with suppress(Exception):
            if context is not None:
                context._accumulatorServer.shutdown()
        SparkContext._active_spark_context = None
        SparkSession._instantiatedSession = SparkSession._activeSession = None
        self.end()


_current: Jvm | None = None


def current() -> Jvm | None:
    """Return the JVM that this process has started; None where it has not."""
    return _current


def start(
    settings: Mapping[str, str], jars: frozenset[Path], java: Java, archive: ClassArchive | None
) -> None:
    """Start the JVM, unless this process has one left that answers and has all the jars.

    `archive` is that of its classes, where it has one. Raises SetupError, with what the JVM itself
    said, where it does not start.
    """
    global _current
    if _current is not None:
        if jars <= _current.jars and _current.answers():
            return
        _current.end()
    options = settings.get(_OPTIONS, "")
    folder, errors = Folder.make(), Errors()
    try:
        gateway = _launch({**settings, _OPTIONS: f"{options} {folder.options()}"}, errors)
    except PySparkException as error:
        folder.delete()
        reason = errors.reason()
        if archive is not None and str(archive.path) in options:
            archive.discard()  # whatever was wrong: without it there is less that can be
            plain = options.replace(f'"{MAP}={archive.path}"', "")
            start({**settings, _OPTIONS: plain}, jars, java, None)
            return
        raise SetupError(
            f"Spark's Java process did not start with {java.path} ({java.version}): {reason}"
        ) from error
    errors.pass_on()
    _current = Jvm(gateway, jars, folder, archive if WRITE in options else None, errors)
    atexit.register(_current.end)
    SparkContext._gateway, SparkContext._jvm = gateway, gateway.jvm


def _launch(settings: Mapping[str, str], errors: Errors) -> JavaGateway:
    conf = SparkConf(loadDefaults=False)
    for name, value in settings.items():
        conf.set(name, value)
    for server in (AccumulatorTCPServer, AccumulatorUnixServer):
        server.handle_error = _say_nothing  # type: ignore[assignment]
    logging.getLogger().addFilter(_is_not_py4j)
    # A JVM that is killed while it calls a listener leaves a traceback with Py4J's own logger.
    logging.getLogger("py4j").propagate = False
    return launch_gateway(conf, {"stderr": errors.descriptor})  # type: ignore[no-untyped-call]


def _is_not_py4j(record: logging.LogRecord) -> bool:
    """Return whether a record is another's than Py4J's, which logs what it raises, as the root."""
    return Path(record.pathname).parent.name != "py4j"


def _say_nothing(*_: object) -> None:
    """Print no traceback where the JVM's end cuts a connection: who waits for it tells."""


def _end(code: int) -> str:
    number = -code if code < 0 else code - 128
    if number == signal.SIGKILL:
        return "was killed (SIGKILL), as the system does where memory is short"
    try:
        return f"was ended by {signal.Signals(number).name}"
    except ValueError:
        return f"has ended with exit code {code}"
