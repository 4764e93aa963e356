"""The report of a run: one document as data, shown as tables and kept as JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.contenders import Bench
from benchmarks.tables import Table
from benchmarks.targets import Measurements, agreements, rates, targets
from benchmarks.workload import RULES

NOTES = """\
- All contenders read the same bars and follow the same rules; quantities are whole units.
- This project and backtrader size an order by the close it is decided at, vectorbt by the open it
  fills at.
- Where the two averages are equal but for the last bits, each library's way of summing decides the
  side; that is most of the difference in fills.
- This project keeps cash in whole cents and writes every order, every fill and the equity of every
  slice. vectorbt keeps order records and computes the equity when asked: both rates are given.
  backtrader is run without observers and keeps no equity curve.
- The equity falls because minute bars cross often and each fill costs a commission.
- Memory is resident memory summed over the process tree, sampled four times a second; pages that
  processes share count once.
- The peers are installed in environments of their own and run as programs of their own.
"""


def document(
    bench: Bench, machine: Mapping[str, Any], load: Sequence[float], measured: Measurements
) -> dict[str, Any]:
    """Return all of a run as plain data."""
    return {
        "machine": dict(machine),
        "load_average_before_and_after": list(load),
        "sizes": {name: asdict(getattr(bench, name)) for name in ("full", "small", "part")},
        "rules": asdict(RULES),
        "targets": [{**asdict(t), "met": t.met} for t in targets(bench, measured)],
        "rates": [asdict(rate) for rate in rates(bench, measured)],
        "agreement": [asdict(a) for a in agreements(measured)],
        "measured": dict(measured),
    }


def tables(bench: Bench, measured: Measurements) -> list[Table]:
    """Return the tables of a run."""
    local, spark = measured.get("local"), measured.get("spark")
    found = [_targets(bench, measured), _rates(bench, measured), _memory(bench, measured)]
    if local:
        found.append(_agreement(measured))
    if spark:
        found += [_phases(spark), _profile("Spark's Python operator", spark["profile"])]
    if local:
        found.append(_profile("Local engine, snapshot → ledger", local["profile"]))
    return [table for table in found if table.rows]


def write(folder: Path, name: str, told: Mapping[str, Any], shown: Sequence[Table]) -> None:
    """Write a run as `name`.json and `name`.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    (folder / f"{name}.md").write_text(_markdown(told, shown))


def show(shown: Sequence[Table], console: Console) -> None:
    """Print the tables."""
    for table in shown:
        console.print(table.rich())


def _markdown(told: Mapping[str, Any], shown: Sequence[Table]) -> str:
    machine = told["machine"]
    before, after = told["load_average_before_and_after"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    head = (
        f"# Benchmark\n\nSMA {RULES.fast}/{RULES.slow} cross, next-open fills, "
        f"{RULES.commission:.1%} commission, one account for all symbols.\n\n"
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, "
        f"{machine['system']}; Python {machine['python']}, Java {machine['java']}; {packages}. "
        f"Load average {before} before and {after} after the run.\n"
    )
    return "\n".join([head, *(table.markdown() for table in shown), "## Notes", "", NOTES])


def _targets(bench: Bench, measured: Measurements) -> Table:
    rows = [
        [
            target.name,
            f"{target.reached:.2f} {target.unit}",
            f"{'≤' if target.ceiling else '≥'} {target.goal:g} {target.unit}",
            "yes" if target.met else "no",
        ]
        for target in targets(bench, measured)
    ]
    return Table("Targets", ("figure", "reached", "target", "met"), rows)


def _rates(bench: Bench, measured: Measurements) -> Table:
    rows = [[r.name, f"{r.best:,.0f}", f"{r.median:,.0f}"] for r in rates(bench, measured)]
    return Table(f"Rates, {bench.full}", ("work", "best, bars/s", "median, bars/s"), rows)


def _memory(bench: Bench, measured: Measurements) -> Table:
    rows = [[name, f"{told['peak'] / 1e6:,.0f}"] for name, told in measured.items()]
    if spark := measured.get("spark"):
        rows.append([f"spark, {bench.small}", f"{spark['peak_small'] / 1e6:,.0f}"])
    return Table("Peak memory", ("process tree", "MB"), rows)


def _agreement(measured: Measurements) -> Table:
    rows = [
        [
            a.name,
            f"{a.fills:,}",
            f"{a.our_fills:,}",
            f"{a.equity:,.2f}",
            f"{a.our_equity:,.2f}",
            "yes" if a.same else "NO",
        ]
        for a in agreements(measured)
    ]
    header = ("contender", "fills", "ours", "last equity", "ours", "same work")
    return Table("The same work?", header, rows)


def _phases(spark: Mapping[str, Any]) -> Table:
    from benchmarks.replays import phases  # loads Spark

    total, batches = sum(spark["warm"]), len(spark["batches"])
    rows = [
        [name, f"{seconds:.2f}", f"{1000 * seconds / batches:,.0f}", f"{seconds / total:.0%}"]
        for name, seconds in phases(spark["batches"]).items()
    ]
    rows.append(["all replays", f"{total:.2f}", f"{1000 * total / batches:,.0f}", "100%"])
    rows.append(
        ["processor time", f"{sum(spark['cpu']):.2f}", "", f"{sum(spark['cpu']) / total:.0%}"]
    )
    header = ("phase", "seconds", "ms a batch", "of the wall")
    return Table(f"Spark's time, {batches} batches of the warm replays", header, rows)


def _profile(title: str, profile: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [row["function"], f"{row['calls']:,}", str(row["own_seconds"]), str(row["total_seconds"])]
        for row in profile
    ]
    return Table(f"Profile: {title}", ("function", "calls", "own s", "total s"), rows)
