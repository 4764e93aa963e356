"""Child processes: each measurement has one of its own, so that none warms or burdens another."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a child said, how long it lived, and the most memory its process tree held (bytes)."""

    said: dict[str, Any]
    seconds: float
    peak: int


class ChildFailed(RuntimeError):
    """A child process ended with an error; the message ends with what it wrote to stderr."""


def measure(command: Sequence[str], request: Mapping[str, Any]) -> Outcome:
    """Run a program that reads a JSON request on stdin and answers with JSON in the file named.

    The wall time is from the start of the process to its end. Raises ChildFailed.
    """
    with tempfile.TemporaryDirectory(prefix="streambt-bench-") as folder:
        answer = Path(folder, "answer.json")
        started = time.time()
        with Path(folder, "stderr").open("w+") as errors:
            child = subprocess.Popen(
                [*command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
            )
            sampler = Sampler(child.pid)
            sampler.start()
            asked = {**request, "answer": str(answer), "folder": folder, "started": started}
            child.communicate(json.dumps(asked).encode())
            seconds = time.time() - started
            peak = sampler.stop()
            if child.returncode or not answer.is_file():
                errors.seek(0)
                raise ChildFailed(f"{Path(command[-1]).name}: {errors.read()[-2000:].strip()}")
        return Outcome(json.loads(answer.read_text()), seconds, peak)


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
