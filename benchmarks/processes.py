"""Child processes: each measurement has one of its own, so that none warms or burdens another."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

SAMPLE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a child said, how long it lived, and the most memory its process tree held (bytes)."""

    said: dict[str, Any]
    seconds: float
    peak: int


class ChildFailed(RuntimeError):
    """A child process ended with an error; the message ends with what it wrote to stderr."""


class Child:
    """A program under measurement: a JSON request on stdin, a JSON answer in the file it names.

    One that measures in turns (see `peers.turns`) takes one for each `turn`; between its turns it
    waits, so that others can take theirs and a drift of the machine meets them all. Raises
    ChildFailed where the program ends with an error. To be used in a `with` statement.
    """

    def __init__(self, command: Sequence[str], request: Mapping[str, Any]) -> None:
        self._name = " ".join(Path(word).name for word in command[1:])
        self._command = [*command]
        self._request = request
        self._peak = 0

    def __enter__(self) -> Child:
        self._held = ExitStack()
        folder = self._held.enter_context(tempfile.TemporaryDirectory(prefix="streambt-bench-"))
        self._answer = Path(folder, "answer.json")
        self._errors = self._held.enter_context(Path(folder, "stderr").open("w+"))
        self._started = time.time()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        asked = {
            **self._request,
            "answer": str(self._answer),
            "folder": folder,
            "started": self._started,
        }
        self._say(json.dumps(asked))
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # what it never read is of no use any more
                assert pipe is not None
                pipe.close()
        self._held.close()

    def prepared(self) -> None:
        """Wait until it is ready for its first turn."""
        assert self._process.stdout is not None
        with self._watched():
            if not self._process.stdout.readline():
                self._process.wait()
                self._fail()

    def turn(self) -> None:
        """Let it take a turn and wait for its end."""
        self._say("turn")
        self.prepared()

    def finish(self) -> Outcome:
        """Let it come to its end, and return what it answered."""
        with self._watched():
            self._process.communicate()
        seconds = time.time() - self._started
        if self._process.returncode or not self._answer.is_file():
            self._fail()
        return Outcome(json.loads(self._answer.read_text()), seconds, self._peak)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has failed, which the wait for its answer will tell
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        sampler = Sampler(self._process.pid)
        sampler.start()
        try:
            yield
        finally:
            self._peak = max(self._peak, sampler.stop())

    def _fail(self) -> NoReturn:
        self._errors.seek(0)
        raise ChildFailed(f"{self._name}: {self._errors.read()[-2000:].strip()}")


def measure(command: Sequence[str], request: Mapping[str, Any]) -> Outcome:
    """Run a program that takes no turns. The wall time is from its start to its end."""
    with Child(command, request) as child:
        return child.finish()


class Sampler(threading.Thread):
    """Watches the memory of a process and all its descendants.

    What counts is a level that two samples in a row reach: for an instant, a process that has just
    forked is there twice.
    """

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._peak = 0
        self._over = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        before = 0
        while not self._over.wait(SAMPLE_SECONDS):
            now = memory(self._root)
            self._peak, before = max(self._peak, min(before, now)), now

    def stop(self) -> int:
        """Stop and return the highest level."""
        self._over.set()
        self.join()
        return self._peak


def memory(root: int) -> int:
    """Return the resident bytes of a process and its descendants; shared pages count once (PSS).

    0 where there is no /proc to read them from.
    """
    total = 0
    for pid in _family(root):
        with suppress(OSError):  # it has just ended
            lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024


def cpu_seconds(root: int) -> float:
    """Return the processor time of a process and its descendants, the ended ones included.

    0 where there is no /proc to read it from.
    """
    ticks = sum(int(field) for stat in _family(root).values() for field in stat[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _family(root: int) -> dict[int, list[str]]:
    """Return the fields of /proc/PID/stat from `state` on, of a process and its descendants."""
    stats: dict[int, list[str]] = {}
    for entry in os.scandir("/proc") if Path("/proc").is_dir() else ():
        if entry.name.isdecimal():
            with suppress(OSError):  # it has just ended
                text = Path(entry.path, "stat").read_text()
                stats[int(entry.name)] = text[text.rindex(")") + 2 :].split()
    family: dict[int, list[str]] = {}
    generation = {root}
    while generation:
        family |= {pid: stats[pid] for pid in generation if pid in stats}
        generation = {pid for pid, stat in stats.items() if int(stat[1]) in generation}
    return family
