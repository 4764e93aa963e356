"""What was reached, beside what was aimed at, and whether the contenders did the same work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.contenders import ENGINES, Bench
from benchmarks.figures import Figure, Measurements, best

TOLERANCE = 0.02
"""How far the number of fills may be from ours, as a fraction, for the work to be the same."""

IN_MEMORY = "local, bars in memory → ledger"
START_UP = "spark, snapshot → ledger, with start-up"


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and what it should be: at least `goal`, or at most where `ceiling`.

    `reached` is None where it is not available.
    """

    name: str
    reached: float | None
    goal: float
    unit: str
    ceiling: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it was reached, None where that is not known."""
        if self.reached is None:
            return None
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


def targets(bench: Bench, measured: Measurements, figures: Sequence[Figure]) -> list[Target]:
    """Return the targets that the measurements allow to judge."""
    return [
        *_local(measured, figures),
        *_spark(bench, measured, figures),
        *_sweep(measured, figures),
        *_steps(measured, figures),
    ]


def _local(measured: Measurements, figures: Sequence[Figure]) -> Iterator[Target]:
    if "local" not in measured:
        return
    yield Target("local, bars in memory", _millions(figures, IN_MEMORY), 12, "M bars/s")
    for called in ("whole call", "orders only"):
        peer = f"vectorbt 1.0 numba, {called}"
        if ratio := over(figures, IN_MEMORY, peer):
            yield Target(f"local ÷ {peer}", ratio, 3, "times")


def _spark(bench: Bench, measured: Measurements, figures: Sequence[Figure]) -> Iterator[Target]:
    if not (spark := measured.get("spark")):
        return
    warm = _millions(figures, "spark, snapshot → ledger, warm")
    yield Target("spark with start-up", _millions(figures, START_UP), 0.25, "M bars/s")
    yield Target("spark warm", warm, 0.4, "M bars/s")
    if ratio := over(figures, START_UP, f"backtrader, {bench.part} in memory"):
        yield Target("spark with start-up ÷ backtrader", ratio, 25, "times")
    growth = spark["peak"] / spark["peak_small"] if spark["peak_small"] else None
    name = f"spark memory, {bench.full.rows:,} ÷ {bench.small.rows:,} bars"
    yield Target(name, growth, 1.1, "times", ceiling=True)


def _sweep(measured: Measurements, figures: Sequence[Figure]) -> Iterator[Target]:
    unit = "M combination-bars/s"
    if "sweep" in measured:
        name = "local, sweep, metrics"
        yield Target(name, _millions(figures, name), 40, unit)
    if "spark sweep" in measured:
        name = "spark, sweep, metrics, with start-up"
        yield Target(name, _millions(figures, name), 8, unit)
    if "sweep" in measured:
        rate = _millions(figures, "digest of the sweep's ledger")
        yield Target("digest", rate, 4, "M events/s")


def _steps(measured: Measurements, figures: Sequence[Figure]) -> Iterator[Target]:
    for symbols, goal in (("10", 0.15), ("500", 4.0)):
        if symbols in measured.get("steps", {}):
            name = f"one-slice step, {symbols} symbols"
            yield Target(name, best(figures, f"{name}, median"), goal, "ms", ceiling=True)


def over(figures: Sequence[Figure], name: str, other: str) -> float | None:
    """Return how many times one figure is another, None where one is missing."""
    one, two = best(figures, name), best(figures, other)
    return one / two if one and two else None


def _millions(figures: Sequence[Figure], name: str) -> float | None:
    rate = best(figures, name)
    return None if rate is None else rate / 1e6


def agreements(measured: Measurements) -> list[Agreement]:
    """Return how the others' results compare with the local engine's on the same bars."""
    return [*_one_strategy(measured), *_sweeps(measured)]


def _one_strategy(measured: Measurements) -> Iterator[Agreement]:
    if not (local := measured.get("local")):
        return
    if spark := measured.get("spark"):
        yield _equal("spark (equal digests)", spark, local)
    for label in ENGINES:
        if label in measured:
            yield _near(label, measured[label], local)
    if "backtrader" in measured:
        yield _near("backtrader", measured["backtrader"], local["part"])


def _sweeps(measured: Measurements) -> Iterator[Agreement]:
    sweep = measured.get("sweep", {})
    if not (local := sweep.get("local full")):
        return
    if metrics := sweep.get("local metrics"):
        same = _result(metrics) == _result(local)
        yield _agreement("local, sweep, metrics (equal)", metrics, local, same)
    spark = measured.get("spark sweep", {})
    for record, ours in (("full", local), ("metrics", sweep.get("local metrics"))):
        if ours and record in spark:
            yield _equal(f"spark, sweep, {record} (equal digests)", spark[record], ours)
    for label in ENGINES:
        if label in sweep:
            yield _near(f"{label}, sweep", sweep[label], local)


def _equal(name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Agreement:
    return _agreement(name, theirs, ours, theirs["digest"] == ours["digest"])


def _near(name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Agreement:
    same = abs(theirs["fills"] - ours["fills"]) <= TOLERANCE * ours["fills"]
    return _agreement(name, theirs, ours, same)


def _agreement(
    name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any], same: bool
) -> Agreement:
    (fills, equity), (our_fills, our_equity) = _result(theirs), _result(ours)
    return Agreement(name, fills, our_fills, equity, our_equity, same)


def _result(answer: Mapping[str, Any]) -> tuple[int, float]:
    """Return the fills and the last equity, in whole hundredths: sums differ in the last bits."""
    return answer["fills"], round(answer["final_equity"], 2)
