"""Replays of a snapshot through Spark: wall time, time of each batch by phase, and a profile."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)

from benchmarks import workload
from benchmarks.processes import cpu_seconds
from benchmarks.profiles import TOP, rows_of
from streambt_spark.engines.job import Job
from streambt_spark.engines.result import Result
from streambt_spark.spark.session import session
from streambt_spark.stores.lake import Snapshot

_PROFILER = "spark.sql.pyspark.udf.profiler"


def replay_once(snapshot: Snapshot, request: Mapping[str, Any]) -> Result:
    """Replay a snapshot as a user does: the session starts and ends with it."""
    return _replay(snapshot, Path(request["folder"]), request)


def replays(snapshot: Snapshot, request: Mapping[str, Any]) -> tuple[dict[str, Any], Result]:
    """Replay once to warm up and `request["replays"]` times under the clock, in one session.

    Each replay has a ledger and a checkpoint of its own. With `request["profile"]` one more runs
    under the profiler of the Python workers; its time is not taken.
    """
    folder, progress = Path(request["folder"]), Progress()
    warm: list[float] = []
    cpu: list[float] = []
    with _session(snapshot, request) as spark:
        _replay(snapshot, folder / "first", request)
        spark.streams.addListener(progress)
        for number in range(request["replays"]):
            started, used = time.perf_counter(), cpu_seconds(os.getpid())
            result = _replay(snapshot, folder / str(number), request)
            warm.append(time.perf_counter() - started)
            cpu.append(cpu_seconds(os.getpid()) - used)
        spark.streams.removeListener(progress)
        profile = _profile(spark, snapshot, folder / "profile", request)
    return {"warm": warm, "cpu": cpu, "batches": progress.batches, "profile": profile}, result


def phases(batches: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the seconds of each phase over all batches, longest first."""
    sums: dict[str, float] = defaultdict(float)
    for batch in batches:
        for name, ms in batch.items():
            if name != "rows":
                sums[name] += ms / 1000
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def _session(
    snapshot: Snapshot, request: Mapping[str, Any]
) -> AbstractContextManager[SparkSession]:
    conf = {**Job.in_folder(request["folder"]).conf(), **request.get("conf", {})}
    return session(addresses=[snapshot.path], conf=conf)


def _replay(snapshot: Snapshot, out: Path, request: Mapping[str, Any]) -> Result:
    rules, record = workload.WORKS[request.get("work", "cross")], request.get("record", "full")
    result = workload.cerebro(snapshot, rules, record).run(
        "spark",
        out=out,
        modules=[workload],
        blocks=request.get("blocks"),
        slices_per_batch=request.get("slices_per_batch"),
    )
    return workload.complete(result, record)


def _profile(
    spark: SparkSession, snapshot: Snapshot, out: Path, request: Mapping[str, Any]
) -> list[dict[str, Any]]:
    if not request.get("profile"):
        return []
    spark.conf.set(_PROFILER, "perf")
    _replay(snapshot, out, request)
    spark.conf.unset(_PROFILER)
    collected = spark._profiler_collector._perf_profile_results
    rows = [row for stats in collected.values() for row in rows_of(stats)]
    return sorted(rows, key=lambda row: -row["own_seconds"])[:TOP]


class Progress(StreamingQueryListener):
    """Keeps each batch's rows and the milliseconds of its phases."""

    def __init__(self) -> None:
        self.batches: list[dict[str, float]] = []

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802 - Spark's name
        """Nothing to keep."""

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802
        """Keep the batch's figures."""
        said = event.progress
        if said.numInputRows:
            self.batches.append({"rows": said.numInputRows, **said.durationMs})

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802
        """Nothing to keep."""

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802
        """Nothing to keep."""
