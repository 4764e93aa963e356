"""A command that is started, watched and hit while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from tests.commands import STREAMBT


class Running:
    """A command in a process group of its own."""

    def __init__(self, *words: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            [STREAMBT, *words],
            env=os.environ | variables,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def family(self) -> list[psutil.Process]:
        """Return its JVM, its workers and all else that it has started."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def named(self, *words: str) -> list[psutil.Process]:
        """Return those of the family whose command line has one of the words."""
        found = []
        for member in self.family():
            with suppress(psutil.NoSuchProcess):
                line = " ".join([member.name(), *member.cmdline()])
                found += [member] if any(word in line for word in words) else []
        return found

    def until(self, reached: Callable[[], bool], seconds: float) -> None:
        """Wait until something is so, while the command runs."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, f"not within {seconds} s"
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)

    def end(self, seconds: float = 120) -> tuple[int, list[str]]:
        """Return its exit code and the lines of its standard error, once all of it has ended."""
        _, told = self.process.communicate(timeout=seconds)
        return self.process.returncode, told.splitlines()

    def kill(self) -> None:
        """SIGKILL the JVM first, so that it cannot end in good order, then all others."""
        for member in sorted(self.family(), key=lambda member: "java" not in member.name()):
            with suppress(psutil.NoSuchProcess):
                member.kill()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def count(folder: Path) -> int:
    """Return how many batches a log of a checkpoint has."""
    return sum(1 for path in folder.glob("[0-9]*")) if folder.is_dir() else 0
