"""What was reached, beside what was aimed at, and whether the contenders did the same work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.contenders import Bench

TOLERANCE = 0.02
"""How far the number of fills may be from ours, as a fraction, for the work to be the same."""

Measurements = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Rate:
    """Bars a second, in the best and in the median run."""

    name: str
    best: float
    median: float

    @classmethod
    def of(cls, name: str, rows: int, seconds: list[float]) -> Rate:
        """Return the rate of runs over that many bars."""
        return cls(name, rows / min(seconds), rows / median(seconds))


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and what it should be: at least `goal`, or at most where `ceiling`."""

    name: str
    reached: float
    goal: float
    unit: str
    ceiling: bool = False

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.reached <= self.goal if self.ceiling else self.reached >= self.goal


@dataclass(frozen=True, slots=True)
class Agreement:
    """The fills and the last equity of two contenders on the same bars."""

    name: str
    fills: int
    our_fills: int
    equity: float
    our_equity: float
    same: bool


def rates(bench: Bench, measured: Measurements) -> list[Rate]:
    """Return the rates of all that was measured, in the order of the report."""
    full, part, found = bench.full.rows, bench.part.rows, []
    for contender, label, rows, path in (
        ("local", "local, bars in memory → ledger", full, ("in_memory",)),
        ("local", "local, the fold alone", full, ("fold",)),
        ("local", "local, snapshot → ledger", full, ("with_reading",)),
        ("spark", "spark, snapshot → ledger, with start-up", full, ("with_start_up",)),
        ("spark", "spark, snapshot → ledger, warm", full, ("warm",)),
        ("vectorbt", "vectorbt, bars in memory → orders", full, ("seconds",)),
        ("vectorbt", "vectorbt, … → orders and equity", full, ("with_equity",)),
        ("vectorbt", "vectorbt[rust], … → orders", full, ("rust", "seconds")),
        ("vectorbt", "vectorbt[rust], … → orders and equity", full, ("rust", "with_equity")),
        ("backtrader", f"backtrader, {bench.part} in memory", part, ("seconds",)),
    ):
        if contender in measured:
            seconds: Any = measured[contender]
            for key in path:
                seconds = seconds[key]
            runs = seconds if isinstance(seconds, list) else [seconds]
            found.append(Rate.of(label, rows, runs))
    return found


def targets(bench: Bench, measured: Measurements) -> list[Target]:
    """Return the targets that the measurements allow to judge."""
    local, spark, vectorbt, backtrader = (
        measured.get(name) for name in ("local", "spark", "vectorbt", "backtrader")
    )
    full, found = bench.full.rows, []
    if local:
        rate = full / min(local["in_memory"])
        found.append(Target("local, bars in memory", rate / 1e6, 5, "M bars/s"))
        if vectorbt:
            for label, key in (
                ("both with equity", "with_equity"),
                ("its orders alone", "seconds"),
            ):
                peer = full / min(vectorbt[key])
                found.append(Target(f"local ÷ vectorbt, {label}", rate / peer, 3, "times"))
    if spark:
        start_up, warm = full / spark["with_start_up"], full / min(spark["warm"])
        found.append(Target("spark with start-up", start_up / 1e6, 0.25, "M bars/s"))
        found.append(Target("spark warm", warm / 1e6, 0.4, "M bars/s"))
        if backtrader:
            peer = bench.part.rows / min(backtrader["seconds"])
            found.append(Target("spark with start-up ÷ backtrader", start_up / peer, 25, "times"))
        growth = spark["peak"] / spark["peak_small"] if spark["peak_small"] else float("nan")
        name = f"spark memory, {bench.full.rows:,} ÷ {bench.small.rows:,} bars"
        found.append(Target(name, growth, 1.1, "times", ceiling=True))
    return found


def agreements(measured: Measurements) -> list[Agreement]:
    """Return how the others' results compare with the local engine's on the same bars."""
    local, found = measured.get("local"), []
    if not local:
        return []
    if spark := measured.get("spark"):
        same = spark["digest"] == local["digest"]
        found.append(_agreement("spark (equal digests)", spark, local, same))
    for name, theirs, ours in (
        ("vectorbt", measured.get("vectorbt"), local),
        ("vectorbt[rust]", measured.get("vectorbt", {}).get("rust"), local),
        ("backtrader", measured.get("backtrader"), local["part"]),
    ):
        if theirs:
            same = abs(theirs["fills"] - ours["fills"]) <= TOLERANCE * ours["fills"]
            found.append(_agreement(name, theirs, ours, same))
    return found


def _agreement(
    name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any], same: bool
) -> Agreement:
    pairs = (theirs["fills"], ours["fills"], theirs["final_equity"], ours["final_equity"])
    return Agreement(name, *pairs, same)
