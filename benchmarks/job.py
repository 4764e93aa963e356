"""One measurement of this project, as a child process: a JSON request in, a JSON answer out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import steps, workload
from benchmarks.peers.turns import Answer, Turns, serve
from benchmarks.profiles import profile_table
from streambt_spark import Cerebro
from streambt_spark.engines import local as local_engine
from streambt_spark.engines.result import Result
from streambt_spark.stores.lake import open_snapshot

WARM_UP = 400
"""Slices that are run before the clock starts, for what compiles."""


def local(request: Mapping[str, Any]) -> Turns:
    """Measure the local engine: bars in memory to ledger, the fold alone, snapshot to ledger."""
    snapshot = open_snapshot(request["snapshot"])
    bars = snapshot.bars()
    workload.cerebro(bars.take(slice(0, WARM_UP * len(bars.symbols)))).run("local")
    plan = workload.cerebro(bars).plan()
    held: list[Result] = []

    def run(turns: Turns) -> None:
        held.clear()  # one result in memory at a time
        held.append(turns.timed("in_memory", lambda: _run(workload.cerebro(bars))))
        turns.timed("fold", lambda: local_engine.run(plan, bars))
        turns.timed("with_reading", lambda: _run(workload.cerebro(snapshot)))

    def answer() -> Answer:
        profile = profile_table(lambda: _run(workload.cerebro(snapshot)))
        return {"profile": profile, **summary(held[0])}

    return Turns(run, answer)


def sweep(request: Mapping[str, Any]) -> Turns:
    """Measure the local engine with many strategies at once: bars in memory to ledger."""
    bars, record = open_snapshot(request["snapshot"]).bars(), request["record"]
    first = bars.take(slice(0, WARM_UP * len(bars.symbols)))
    workload.cerebro(first, workload.SWEEP, record).run("local")
    held: list[Result] = []

    def run(turns: Turns) -> None:
        held.clear()
        built = workload.cerebro(bars, workload.SWEEP, record)
        held.append(turns.timed("whole", lambda: _run(built, record)))

    return Turns(run, lambda: summary(held[0], record))


def spark(request: Mapping[str, Any]) -> Answer:
    """Measure replays through Spark in one session."""
    from benchmarks.replays import replay_once, replays  # the local jobs must not load Spark

    snapshot = open_snapshot(request["snapshot"])
    if not request["replays"]:
        replay_once(snapshot, request)
        return {}
    answer, result = replays(snapshot, request)
    return {**answer, **summary(result, request.get("record", "full"))}


def step(request: Mapping[str, Any]) -> Answer:
    """Measure steps of one slice, for each number of symbols asked for."""
    return {str(symbols): steps.measure(symbols, request["steps"]) for symbols in request["each"]}


def _run(built: Cerebro, record: str = "full") -> Result:
    return workload.complete(built.run("local"), record)


def summary(result: Result, record: str = "full") -> Answer:
    """Return what tells whether two contenders did the same work."""
    events = result.ledger.num_rows
    started = time.perf_counter()
    ledger = {
        "digest": result.digest,
        "digest_seconds": time.perf_counter() - started,
        "events": events,
    }
    if record == "metrics":
        figures = result.metrics
        fills, last = figures["fills"].sum(), figures["final"].sum()
    else:
        equity = result.equity
        fills, last = len(result.fills), equity["equity"][equity["ts"] == equity["ts"].max()].sum()
    return {**ledger, "fills": int(fills), "final_equity": float(last)}


IN_TURNS: Mapping[str, Callable[[Mapping[str, Any]], Turns]] = {"local": local, "sweep": sweep}
AT_ONCE: Mapping[str, Callable[[Mapping[str, Any]], Answer]] = {"spark": spark, "step": step}

if __name__ == "__main__":
    if (name := sys.argv[1]) in IN_TURNS:
        serve(IN_TURNS[name])
    else:
        asked = json.load(sys.stdin)
        Path(asked["answer"]).write_text(json.dumps(AT_ONCE[name](asked)))
