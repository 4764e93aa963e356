"""The benchmark's own promises: fair turns, and falls that are told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from benchmarks.comparison import changes, drift, earlier_run
from benchmarks.figures import BARS, Figure
from benchmarks.processes import Child, ChildFailed

ROOT = Path(__file__).resolve().parents[2]
EARLIER = {
    "figures": [
        {"name": "ours", "best": 100.0},
        {"name": "theirs", "best": 100.0},
        {"name": "delay", "best": 2.0},
    ]
}


def rate(name: str, best: float, *, ours: bool = True) -> Figure:
    """Return a figure of that many bars a second."""
    return Figure.rate(name, BARS, 1, 1 / best, ours=ours)


@pytest.mark.parametrize(("now", "fell"), [(94.0, True), (96.0, False), (120.0, False)])
def test_a_rate_fell_where_it_is_more_than_a_twentieth_lower(now: float, fell: bool) -> None:
    """A rate of this project that is worse by more than 5 % is flagged."""
    (change,) = changes([rate("ours", now)], EARLIER)
    assert (change.fell, change.ratio) == (fell, pytest.approx(now / 100))


def test_a_longer_delay_is_a_fall() -> None:
    """Of a figure that is the better the smaller it is, a larger one is the worse."""
    (change,) = changes([Figure.level("delay", "ms", 2.5, ours=True)], EARLIER)
    assert (change.fell, change.ratio) == (True, pytest.approx(0.8))


def test_a_peers_fall_is_the_machines() -> None:
    """A slower peer is not flagged: it is the same program, so it tells of the machine."""
    found = changes([rate("theirs", 50.0, ours=False), rate("new", 1.0)], EARLIER)
    assert [change.fell for change in found] == [False]
    assert drift(found) == pytest.approx(0.5)


def test_what_is_not_available_is_not_compared() -> None:
    """A figure that could not be measured has no ratio."""
    missing = Figure.rate("ours", BARS, 1, None, ours=True)
    assert (missing.best, changes([missing], EARLIER)) == (None, [])


def test_results_of_other_sizes_are_not_compared(tmp_path: Path) -> None:
    """An earlier run counts only where what both measure has the same size."""
    path = tmp_path / "latest.json"
    path.write_text(json.dumps({"sizes": {"full": 10}, "figures": []}))
    assert earlier_run(path, {"full": 10, "sweep": 5}) == {"sizes": {"full": 10}, "figures": []}
    assert earlier_run(path, {"full": 11, "sweep": 5}) is None
    assert earlier_run(tmp_path / "none.json", {}) is None


def test_spread_is_the_range_over_the_median() -> None:
    """The spread of 10, 20 and 25 bars a second is 15 / 20."""
    figure = Figure.rate("ours", BARS, 100, [10.0, 5.0, 4.0], ours=True)
    assert (figure.best, figure.median, figure.spread) == (25.0, 20.0, 0.75)


CHILD = """
    from benchmarks.peers.turns import Turns, serve

    def prepare(asked):
        print("a library's noise")
        if asked["fails"]:
            raise ValueError("no such bars")
        count = []
        return Turns(lambda turns: turns.timed("run", lambda: count.append(1)),
                     lambda: {"turns": len(count)})

    serve(prepare)
"""


def child(tmp_path: Path, *, fails: bool) -> Child:
    """Return a program of one run a turn, in a file of its own as the peers' are."""
    program = tmp_path / "program.py"
    program.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{dedent(CHILD)}")
    return Child([sys.executable, str(program)], {"fails": fails})


def test_a_child_runs_when_it_has_its_turn(tmp_path: Path) -> None:
    """Each turn is one run under the clock; what a library prints is not an answer."""
    with child(tmp_path, fails=False) as one:
        one.prepared()
        one.turn()
        one.turn()
        said = one.finish().said
    assert (said["turns"], len(said["run"])) == (2, 2)


def test_a_childs_error_is_told(tmp_path: Path) -> None:
    """A child that fails ends the measurement with what it wrote to stderr."""
    with child(tmp_path, fails=True) as one, pytest.raises(ChildFailed, match="no such bars"):
        one.prepared()
