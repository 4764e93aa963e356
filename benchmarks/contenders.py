"""The contenders: what is run for each of them, and what it is asked to measure."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.environments import peer_python
from benchmarks.processes import Child, Outcome, measure
from benchmarks.workload import RULES, SWEEP, Rules, Size, records_metrics, snapshot
from streambt_spark.core.market.bars import FIELDS
from streambt_spark.stores.lake import Snapshot

Measured = dict[str, dict[str, Any]]
_PROGRAMS = Path(__file__).with_name("peers")

ENGINES = {
    "vectorbt 1.0 numba": ("vectorbt-1.0", "vectorbt", "numba"),
    "vectorbt 1.0 rust": ("vectorbt-1.0", "vectorbt", "rust"),
    "vectorbt 1.2 rust": ("vectorbt-1.2", "vectorbt", "rust"),
    "raptorbt 0.13 rust": ("raptorbt", "raptorbt", "rust"),
}
"""The peers that hold all bars in memory: the label tells the engine, then come the environment,
the program and the engine's name there."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured, and how often.

    One strategy: the full size, a fifth of it for memory, and a part for slow peers. The sweep has
    a size of its own, and a larger one to tell Spark's rate from its start-up. `steps` are those of
    one slice, for each number of symbols.
    """

    full: Size
    small: Size
    part: Size
    sweep: Size
    large_sweep: Size
    steps: int
    repeats: int
    cache: Path
    symbols: tuple[int, ...] = field(default=(10, 500))

    @classmethod
    def of(cls, cache: Path, *, quick: bool) -> Bench:
        """Return the sizes of the real run, or a tenth of them."""
        scale = 10 if quick else 1
        return cls(
            full=Size(100, 100_000 // scale),
            small=Size(100, 20_000 // scale),
            part=Size(10, 5_000 // scale),
            sweep=Size(10, 20_000 // scale),
            large_sweep=Size(10, 200_000 // scale),
            steps=600 // scale,
            repeats=5 if scale == 1 else 2,
            cache=cache,
        )


@dataclass(frozen=True, slots=True)
class Player:
    """A contender that takes its turns among others: a command and its request."""

    command: tuple[str, ...]
    request: Mapping[str, Any]


def in_turns(players: Mapping[str, Player], rounds: int) -> dict[str, Outcome]:
    """Let each player take one turn a round, so that a drift of the machine meets them all."""
    with ExitStack() as stack:
        children = {}
        for name, player in players.items():
            children[name] = stack.enter_context(Child(player.command, player.request))
            children[name].prepared()
        for _ in range(rounds):
            for child in children.values():
                child.turn()
        return {name: child.finish() for name, child in children.items()}


def crosses(bench: Bench, families: Iterable[str]) -> Measured:
    """Measure one strategy on bars in memory: this project and the families of peers in turns."""
    names = tuple(families)
    players = _peers(bench, bench.full, RULES, names)
    if "local" in names:
        players = {"local": _ours("local", bench, bench.full), **players}
    measured = {
        name: {**outcome.said, "peak": outcome.peak}
        for name, outcome in in_turns(players, bench.repeats).items()
    }
    if "local" in names:
        part = in_turns({"part": _ours("local", bench, bench.part)}, 1)["part"].said
        measured["local"]["part"] = {name: part[name] for name in ("fills", "final_equity")}
    return measured


def backtrader(bench: Bench) -> Measured:
    """Measure backtrader on the part."""
    command = (str(peer_python("backtrader", bench.cache)), str(_PROGRAMS / "backtrader_sma.py"))
    asked = {"bars": _parquet(bench, bench.part), "rules": asdict(RULES)}
    outcome = measure(command, asked)
    return {"backtrader": {**outcome.said, "peak": outcome.peak}}


def sweep(bench: Bench) -> Measured:
    """Measure the sweep on bars in memory, all in turns."""
    records = ("full", "metrics") if records_metrics() else ("full",)
    players = {
        **{f"local {r}": _ours("sweep", bench, bench.sweep, record=r) for r in records},
        **_peers(bench, bench.sweep, SWEEP, ("vectorbt", "raptorbt")),
    }
    outcomes = in_turns(players, max(bench.repeats - 2, 1))
    return {"sweep": {name: {**o.said, "peak": o.peak} for name, o in outcomes.items()}}


def steps(bench: Bench) -> Measured:
    """Measure steps of one slice."""
    outcome = measure((*_OURS, "step"), {"steps": bench.steps, "each": bench.symbols})
    return {"steps": outcome.said}


def spark(bench: Bench) -> Measured:
    """Measure the Spark engine: a process for each size, and one with several replays."""
    small = _spark(bench, bench.small, replays=0)
    cold = _spark(bench, bench.full, replays=0)
    warm = _spark(bench, bench.full, replays=3, profile=True)
    processes = {"with_start_up": cold.seconds, "peak": cold.peak, "peak_small": small.peak}
    return {"spark": {**warm.said, **processes}}


def spark_sweep(bench: Bench) -> Measured:
    """Measure the sweep through Spark, and the larger one where only metrics are kept."""
    asked = {"work": "sweep", "blocks": os.cpu_count() or 1}
    measured = {}
    for record, replays in (("full", 1), ("metrics", 2))[: 1 + records_metrics()]:
        cold = _spark(bench, bench.sweep, record=record, replays=0, **asked)
        warm = _spark(bench, bench.sweep, record=record, replays=replays, **asked)
        measured[record] = {**warm.said, "with_start_up": cold.seconds, "peak": cold.peak}
    if records_metrics():
        large = _spark(bench, bench.large_sweep, record="metrics", replays=0, **asked)
        measured["metrics"]["large_with_start_up"] = large.seconds
    return {"spark sweep": measured}


ALONE: Mapping[str, Callable[[Bench], Measured]] = {
    "backtrader": backtrader,
    "sweep": sweep,
    "steps": steps,
    "spark": spark,
    "spark-sweep": spark_sweep,
}
TOGETHER = ("local", "vectorbt", "raptorbt")
NAMES = (*TOGETHER, *ALONE)


def plan(names: Iterable[str]) -> dict[str, Callable[[Bench], Measured]]:
    """Return what is to be run for some of NAMES, in order."""
    wanted = set(names)
    together = [name for name in TOGETHER if name in wanted]
    runs: dict[str, Callable[[Bench], Measured]] = {}
    if together:
        runs[", ".join(together)] = lambda bench: crosses(bench, together)
    return runs | {name: run for name, run in ALONE.items() if name in wanted}


_OURS = (sys.executable, "-m", "benchmarks.job")


def _ours(job: str, bench: Bench, size: Size, **asked: Any) -> Player:
    path = snapshot(size, bench.cache).path
    return Player((*_OURS, job), {"snapshot": path, **asked})


def _spark(bench: Bench, size: Size, **asked: Any) -> Outcome:
    player = _ours("spark", bench, size, **asked)
    return measure(player.command, player.request)


def _peers(bench: Bench, size: Size, rules: Rules, families: Iterable[str]) -> dict[str, Player]:
    """Return the peers of these families that hold all bars in memory."""
    programs = set(families)
    asked = {"rules": asdict(rules)}
    players = {}
    for label, (environment, program, engine) in ENGINES.items():
        if program in programs:
            python = peer_python(environment, bench.cache)
            request = {**asked, "engine": engine, "bars": _parquet(bench, size)}
            players[label] = Player((str(python), str(_PROGRAMS / f"{program}_sma.py")), request)
    return players


def _parquet(bench: Bench, size: Size) -> str:
    """Return the file with the bars of a size, for programs that read Parquet."""
    bars: Snapshot = snapshot(size, bench.cache)
    path = Path(f"{bars.path}.parquet")
    if not path.is_file():
        batches = bars.read(columns=["symbol", "ts", *FIELDS])
        unfinished = path.with_suffix(".partial")
        first = next(batches)
        with pq.ParquetWriter(unfinished, first.schema) as writer:
            writer.write_batch(first)
            for batch in batches:
                writer.write_batch(batch)
        unfinished.rename(path)
    return str(path)
