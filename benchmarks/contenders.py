"""The contenders: what is run for each of them, and what it is asked to measure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.environments import peer_python
from benchmarks.processes import Outcome, measure
from benchmarks.workload import Size, rules, snapshot
from streambt_spark.core.market.bars import FIELDS
from streambt_spark.stores.lake import Snapshot

Measured = dict[str, Any]
_PROGRAMS = Path(__file__).with_name("peers")


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured: the full size, a fifth of it for memory, and a part for slow peers."""

    full: Size
    small: Size
    part: Size
    repeats: int
    cache: Path

    @classmethod
    def of(cls, cache: Path, *, quick: bool) -> Bench:
        """Return the sizes of the real run, or a tenth of them."""
        scale = 10 if quick else 1
        return cls(
            full=Size(100, 100_000 // scale),
            small=Size(100, 20_000 // scale),
            part=Size(10, 5_000 // scale),
            repeats=3,
            cache=cache,
        )


def local(bench: Bench) -> Measured:
    """Measure this project's local engine, on the full size and on the peers' part."""
    told = _ours("local", bench, bench.full, repeats=bench.repeats)
    part = _ours("local", bench, bench.part, repeats=1)
    kept = {name: part.said[name] for name in ("fills", "final_equity")}
    return {**told.said, "peak": told.peak, "part": kept}


def spark(bench: Bench) -> Measured:
    """Measure the Spark engine: a process for each size, and one with several replays."""
    small = _ours("spark", bench, bench.small, replays=1)
    cold = _ours("spark", bench, bench.full, replays=1)
    warm = _ours("spark", bench, bench.full, replays=bench.repeats, profile=True)
    return {
        **warm.said,
        "with_start_up": cold.seconds,
        "peak": cold.peak,
        "peak_small": small.peak,
    }


def vectorbt(bench: Bench) -> Measured:
    """Measure vectorbt on the full size, by its default engine and by its faster one."""
    asked = {"bars": _parquet(bench, bench.full), "repeats": bench.repeats}
    numba, rust = (
        _peer("vectorbt", bench, {**asked, "engine": engine}) for engine in ("numba", "rust")
    )
    return {**numba.said, "peak": numba.peak, "rust": rust.said}


def backtrader(bench: Bench) -> Measured:
    """Measure backtrader on the part."""
    outcome = _peer("backtrader", bench, {"bars": _parquet(bench, bench.part)})
    return {**outcome.said, "peak": outcome.peak}


CONTENDERS: Mapping[str, Callable[[Bench], Measured]] = {
    "local": local,
    "vectorbt": vectorbt,
    "backtrader": backtrader,
    "spark": spark,
}


def _ours(job: str, bench: Bench, size: Size, **asked: Any) -> Outcome:
    path = snapshot(size, bench.cache).path
    command = [sys.executable, "-m", "benchmarks.job"]
    return measure(command, {"job": job, "snapshot": path, **asked})


def _peer(peer: str, bench: Bench, asked: Mapping[str, Any]) -> Outcome:
    python = peer_python(peer, bench.cache)
    return measure([str(python), str(_PROGRAMS / f"{peer}_sma.py")], {"rules": rules(), **asked})


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
