"""The figures of a run: what was measured, as rates, delays and memory with their spread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.contenders import ENGINES, Bench
from benchmarks.workload import SWEEP, Size

Measurements = Mapping[str, Mapping[str, Any]]
BARS, COMBINATIONS, EVENTS = "bars/s", "combination-bars/s", "events/s"
MILLISECONDS, MEGABYTES = "ms", "MB"
PEER_RUNS = {
    "simulation": "simulation alone",
    "orders": "orders only",
    "whole": "whole call",
    "apart": "symbols apart, on all cores",
}
"""What a peer's program times, and what it is called in the report."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The best and the median of some runs, and how far apart they are as a part of the median.

    None where it is not available. `less` tells that a smaller figure is the better one, `ours`
    that it is this project's.
    """

    name: str
    unit: str
    best: float | None
    median: float | None
    spread: float | None = None
    less: bool = False
    ours: bool = False

    @classmethod
    def rate(
        cls, name: str, unit: str, work: int, seconds: float | Sequence[float] | None, ours: bool
    ) -> Figure:
        """Return the rate of runs that each did that much work, or of none."""
        if seconds is None:
            return cls(name, unit, None, None, ours=ours)
        runs = [seconds] if isinstance(seconds, int | float) else list(seconds)
        rates = [work / run for run in runs]
        middle = median(rates)
        spread = (max(rates) - min(rates)) / middle if len(rates) > 1 else None
        return cls(name, unit, max(rates), middle, spread, ours=ours)

    @classmethod
    def level(cls, name: str, unit: str, value: float, ours: bool) -> Figure:
        """Return a figure that is the better the smaller it is."""
        return cls(name, unit, value, value, less=True, ours=ours)


def figures(bench: Bench, measured: Measurements) -> list[Figure]:
    """Return all figures, in the order of the report."""
    return [
        *_ours(bench, measured),
        *_peers(bench, measured),
        *_sweep(bench, measured.get("sweep")),
        *_spark_sweep(bench, measured.get("spark sweep")),
        *_steps(measured),
        *_memory(bench, measured),
    ]


def best(figures: Sequence[Figure], name: str) -> float | None:
    """Return the best of a figure, None where it was not measured."""
    return next((figure.best for figure in figures if figure.name == name), None)


def _ours(bench: Bench, measured: Measurements) -> Iterator[Figure]:
    for contender, name, key in (
        ("local", "local, bars in memory → ledger", "in_memory"),
        ("local", "local, the fold alone", "fold"),
        ("local", "local, snapshot → ledger", "with_reading"),
        ("spark", "spark, snapshot → ledger, with start-up", "with_start_up"),
        ("spark", "spark, snapshot → ledger, warm", "warm"),
    ):
        if contender in measured:
            yield Figure.rate(name, BARS, bench.full.rows, measured[contender][key], ours=True)


def _peers(bench: Bench, measured: Measurements) -> Iterator[Figure]:
    for label in ENGINES:
        yield from _runs(label, BARS, bench.full.rows, measured.get(label, {}))
    if "backtrader" in measured:
        name, seconds = f"backtrader, {bench.part} in memory", measured["backtrader"]["seconds"]
        yield Figure.rate(name, BARS, bench.part.rows, seconds, ours=False)


def _runs(label: str, unit: str, work: int, answer: Mapping[str, Any]) -> Iterator[Figure]:
    for key, called in PEER_RUNS.items():
        if key in answer:
            yield Figure.rate(f"{label}, {called}", unit, work, answer[key], ours=False)


def combinations(size: Size) -> int:
    """Return how many bars all strategies of the sweep see together."""
    return size.rows * len(SWEEP.pairs)


def _sweep(bench: Bench, answers: Mapping[str, Any] | None) -> Iterator[Figure]:
    if answers is None:
        return
    work = combinations(bench.sweep)
    for record, called in (("full", "full ledgers"), ("metrics", "metrics")):
        seconds = answers.get(f"local {record}", {}).get("whole")
        yield Figure.rate(f"local, sweep, {called}", COMBINATIONS, work, seconds, ours=True)
    for label in ENGINES:
        yield from _runs(f"{label}, sweep", COMBINATIONS, work, answers.get(label, {}))
    ledgers = answers["local full"]
    name, seconds = "digest of the sweep's ledger", ledgers["digest_seconds"]
    yield Figure.rate(name, EVENTS, ledgers["events"], seconds, ours=True)


def _spark_sweep(bench: Bench, answers: Mapping[str, Any] | None) -> Iterator[Figure]:
    if answers is None:
        return
    metrics = answers.get("metrics", {})
    small, large = combinations(bench.sweep), combinations(bench.large_sweep)
    start_up, more = metrics.get("with_start_up"), metrics.get("large_with_start_up")
    longer = f"spark, sweep over {bench.large_sweep.bars:,} bars, metrics"
    for name, work, seconds in (
        ("spark, sweep, full ledgers, with start-up", small, answers["full"]["with_start_up"]),
        ("spark, sweep, full ledgers, warm", small, answers["full"]["warm"]),
        ("spark, sweep, metrics, with start-up", small, start_up),
        ("spark, sweep, metrics, warm", small, metrics.get("warm")),
        (f"{longer}, with start-up", large, more),
        (f"{longer}, less the time of the shorter", large - small, _longer(more, start_up)),
    ):
        yield Figure.rate(name, COMBINATIONS, work, seconds, ours=True)


def _longer(more: float | None, less: float | None) -> float | None:
    """Return by how much one run is longer, None where it is not or one is missing."""
    return more - less if more and less and more > less else None


def _steps(measured: Measurements) -> Iterator[Figure]:
    for symbols, seconds in measured.get("steps", {}).items():
        for key, called in (("median", "median"), ("p99", "99th of 100")):
            name = f"one-slice step, {symbols} symbols, {called}"
            yield Figure.level(name, MILLISECONDS, 1000 * seconds[key], ours=True)


def _memory(bench: Bench, measured: Measurements) -> Iterator[Figure]:
    for name, answer in measured.items():
        if "peak" in answer:
            yield _peak(name, answer["peak"])
    if spark := measured.get("spark"):
        yield _peak(f"spark, {bench.small}", spark["peak_small"])
    for name, answer in measured.get("sweep", {}).items():
        yield _peak(f"{name}, sweep", answer["peak"])
    for record, answer in measured.get("spark sweep", {}).items():
        yield _peak(f"spark {record}, sweep", answer["peak"])


def _peak(name: str, peak: int) -> Figure:
    ours = name.split()[0].strip(",") in ("local", "spark")
    return Figure.level(f"memory: {name}", MEGABYTES, peak / 1e6, ours)
