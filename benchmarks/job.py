"""One measurement of this project, as a child process: a JSON request in, a JSON answer out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import workload
from benchmarks.profiles import profile_table
from streambt_spark.engines import local as local_engine
from streambt_spark.engines.result import Result
from streambt_spark.stores.lake import Snapshot, open_snapshot

Answer = dict[str, Any]


def local(snapshot: Snapshot, request: Mapping[str, Any]) -> Answer:
    """Measure the local engine: bars in memory to ledger, the fold alone, snapshot to ledger."""
    bars = snapshot.bars()
    workload.cerebro(bars.take(slice(0, 100 * len(bars.symbols)))).run("local")  # compiles
    plan = workload.cerebro(bars).plan()
    in_memory, result = _timed(lambda: workload.cerebro(bars).run("local"), request["repeats"])
    told = summary(result)
    fold, _ = _timed(lambda: local_engine.run(plan, bars), request["repeats"])
    from_disk, _ = _timed(lambda: workload.cerebro(snapshot).run("local"), request["repeats"])
    return {
        "in_memory": in_memory,
        "fold": fold,
        "with_reading": from_disk,
        "profile": profile_table(lambda: workload.cerebro(snapshot).run("local")),
        **told,
    }


def spark(snapshot: Snapshot, request: Mapping[str, Any]) -> Answer:
    """Measure replays through Spark in one session."""
    from benchmarks.replays import replay_once, replays  # the local job must not load Spark

    if request["replays"] > 1:
        answer, result = replays(snapshot, request)
        return {**answer, **summary(result)}
    replay_once(snapshot, request)
    return {}


def summary(result: Result) -> Answer:
    """Return what tells whether two contenders did the same work."""
    equity = result.equity["equity"]
    return {
        "fills": len(result.fills),
        "final_equity": float(equity.iloc[-1]),
        "events": result.ledger.num_rows,
        "digest": result.digest,
    }


def _timed(run: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    seconds: list[float] = []
    result = None
    for _ in range(repeats):
        result = None  # one result in memory at a time
        started = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - started)
    return seconds, result


JOBS = {"local": local, "spark": spark}

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    said = JOBS[asked["job"]](open_snapshot(asked["snapshot"]), asked)
    Path(asked["answer"]).write_text(json.dumps(said))
