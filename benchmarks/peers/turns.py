"""The child's side of a measurement in turns; it needs nothing but Python, for the peers use it.

The first line on stdin is a JSON request, and every further line asks for a turn. The child says a
line on stdout when it is prepared and after each turn; once stdin ends, its answer is written as
JSON to the file that the request names.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = dict[str, Any]


class Turns:
    """Times named runs, one of each in a turn; `seconds` has the times of each in order."""

    def __init__(self, run: Callable[[Turns], None], answer: Callable[[], Answer]) -> None:
        self._run = run
        self._answer = answer
        self.seconds: dict[str, list[float]] = {}

    def take(self, name: str, seconds: float) -> None:
        """Keep one time of a run."""
        self.seconds.setdefault(name, []).append(seconds)

    def timed(self, name: str, run: Callable[[], Any]) -> Any:
        """Run under the clock, keep the time and return what the run returned."""
        started = time.perf_counter()
        result = run()
        self.take(name, time.perf_counter() - started)
        return result

    def turn(self) -> None:
        """Take one turn."""
        self._run(self)

    def answer(self) -> Answer:
        """Return the times and what the child has to say besides."""
        return {**self.seconds, **self._answer()}


def serve(prepare: Callable[[Answer], Turns]) -> None:
    """Prepare what the request asks for, take the turns, and answer."""
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is not an answer
    asked = json.loads(sys.stdin.readline())
    turns = prepare(asked)
    print("prepared", file=said, flush=True)
    for _ in sys.stdin:
        turns.turn()
        print("done", file=said, flush=True)
    Path(asked["answer"]).write_text(json.dumps(turns.answer()))
