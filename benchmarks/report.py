"""The report of a run: one document as data, shown as tables and kept as JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import comparison
from benchmarks.comparison import Change, changes, drift
from benchmarks.contenders import ENGINES, Bench
from benchmarks.figures import (
    BARS,
    COMBINATIONS,
    EVENTS,
    MEGABYTES,
    MILLISECONDS,
    Figure,
    Measurements,
    figures,
)
from benchmarks.tables import Table
from benchmarks.targets import (
    IN_MEMORY,
    Agreement,
    Target,
    agreements,
    over,
    targets,
)
from benchmarks.workload import RULES, SWEEP

SIZES = ("full", "small", "part", "sweep", "large_sweep")
NOTES = """\
- All contenders read the same bars and follow the same rules; quantities are whole units.
- Of a peer, "simulation alone" is given the orders or signals and gives orders; "orders only" has
  the indicators too; "whole call" is indicators, simulation and the equity of every slice. raptorbt
  makes trades, equity and metrics in its simulation, so it has no orders alone. This project's
  "bars in memory → ledger" is to be held against the whole call.
- This project and backtrader size an order by the close it is decided at, vectorbt by the open it
  fills at. raptorbt's portfolio runner gives each symbol an equal share of the equity, which is the
  share that the others are told, less what the commission takes.
- raptorbt's signals are moved on by one bar and fill at the open of the bar they come at: its own
  timing "next_bar_open" fills the entries of a portfolio, in 0.13.4, at the open of the bar they
  are decided at, and takes every second one.
- vectorbt is given times without a zone and runs a slice's orders in the order of the columns: the
  fastest form that was found. With times in UTC it takes about twice as long, and the results from
  before version 1.2 joined were taken so.
- Where the two averages are equal but for the last bits, each library's way of summing decides the
  side; that is most of the difference in fills.
- This project keeps cash in whole cents and writes every order, every fill and the equity of every
  slice. vectorbt keeps order records and computes the equity when asked. backtrader is run without
  observers and keeps no equity curve.
- In the sweep each pair of averages has an account of its own for all symbols. raptorbt runs one
  pair after the other on one core; "symbols apart" is its runner for all cores, where each symbol
  has its own cash.
- The contenders that hold all bars in memory take turns, one run each in a round, so that a drift
  of the machine meets them all. The spread is (highest - lowest) / median of those runs.
- The equity falls because minute bars cross often and each fill costs a commission.
- Memory is resident memory summed over the process tree, sampled four times a second; pages that
  processes share count once.
- The peers are installed in environments of their own and run as programs of their own.
"""


@dataclass(frozen=True, slots=True)
class Report:
    """All that a run says."""

    bench: Bench
    measured: Measurements
    figures: Sequence[Figure]
    targets: Sequence[Target]
    agreements: Sequence[Agreement]
    changes: Sequence[Change]

    @classmethod
    def of(cls, bench: Bench, measured: Measurements, before: Path) -> Report:
        """Return what the measurements say, and how they compare with an earlier run's file."""
        results = figures(bench, measured)
        earlier = comparison.earlier_run(before, sizes(bench))
        return cls(
            bench,
            measured,
            results,
            targets(bench, measured, results),
            agreements(measured),
            changes(results, earlier),
        )


def sizes(bench: Bench) -> dict[str, Any]:
    """Return the sizes as plain data."""
    return {name: asdict(getattr(bench, name)) for name in SIZES}


def document(report: Report, machine: Mapping[str, Any], load: Sequence[float]) -> dict[str, Any]:
    """Return all of a run as plain data."""
    return {
        "machine": dict(machine),
        "load_average_before_and_after": list(load),
        "sizes": sizes(report.bench),
        "rules": {"one": asdict(RULES), "sweep": asdict(SWEEP)},
        "targets": [{**asdict(target), "met": target.met} for target in report.targets],
        "figures": [asdict(figure) for figure in report.figures],
        "agreement": [asdict(agreement) for agreement in report.agreements],
        "comparison": comparison.as_data(report.changes),
        "measured": dict(report.measured),
    }


def tables(report: Report) -> list[Table]:
    """Return the tables of a run."""
    bench, measured = report.bench, report.measured
    local, spark = measured.get("local"), measured.get("spark")
    over_sweep = f"Sweep, {len(SWEEP.pairs)} pairs on {bench.sweep}"
    sections = [
        _targets(report.targets),
        _figures(f"Rates, {bench.full}", report.figures, BARS),
        _ratios(report.figures),
        _figures(over_sweep, report.figures, COMBINATIONS),
        _figures("Steps and digests", report.figures, MILLISECONDS, EVENTS),
        _figures("Peak memory of the process tree", report.figures, MEGABYTES),
        _agreement(report.agreements),
        _changes(report.changes),
    ]
    if spark:
        sections += [_phases(spark), _profile("Spark's Python operator", spark["profile"])]
    if local:
        sections.append(_profile("Local engine, snapshot → ledger", local["profile"]))
    return [table for table in sections if table.rows]


def write(folder: Path, name: str, document: Mapping[str, Any], tables: Sequence[Table]) -> None:
    """Write a run as `name`.json and `name`.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    (folder / f"{name}.md").write_text(_markdown(document, tables))


def show(tables: Sequence[Table], console: Console) -> None:
    """Print the tables."""
    for table in tables:
        console.print(table.rich())


def _markdown(document: Mapping[str, Any], tables: Sequence[Table]) -> str:
    machine = document["machine"]
    before, after = document["load_average_before_and_after"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    ((fast, slow),) = RULES.pairs
    head = (
        f"# Benchmark\n\nSMA {fast}/{slow} cross, next-open fills, "
        f"{RULES.commission:.1%} commission, one account for all symbols.\n\n"
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, "
        f"{machine['system']}; Python {machine['python']}, Java {machine['java']}; {packages}. "
        f"Load average {before} before and {after} after the run.\n"
    )
    return "\n".join([head, *(table.markdown() for table in tables), "## Notes", "", NOTES])


def _targets(targets: Iterable[Target]) -> Table:
    met = {True: "yes", False: "no", None: "—"}
    rows = [
        [
            target.name,
            "not available" if target.reached is None else f"{target.reached:.2f} {target.unit}",
            f"{'≤' if target.ceiling else '≥'} {target.goal:g} {target.unit}",
            met[target.met],
        ]
        for target in targets
    ]
    return Table("Targets", ("figure", "reached", "target", "met"), rows)


def _figures(title: str, figures: Iterable[Figure], *units: str) -> Table:
    """Return the figures of these units; a unit that all share stands in the header."""
    said, shared = ("", f", {units[0]}") if len(units) == 1 else (" {}", "")
    rows = [
        [
            figure.name,
            _number(figure.best) + said.format(figure.unit),
            _number(figure.median) + said.format(figure.unit),
            _spread(figure),
        ]
        for figure in figures
        if figure.unit in units
    ]
    return Table(title, ("work", f"best{shared}", f"median{shared}", "spread"), rows)


def _number(value: float | None) -> str:
    if value is None:
        return "not available"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _spread(figure: Figure | Change) -> str:
    return "" if figure.spread is None else f"{figure.spread:.0%}"


def _ratios(figures: Sequence[Figure]) -> Table:
    rows = []
    for label in ENGINES:
        ratios = [
            over(figures, IN_MEMORY, f"{label}, {run}") for run in ("orders only", "whole call")
        ]
        if any(ratios):
            rows.append([label, *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)])
    header = ("local, bars in memory → ledger ÷", "orders only", "whole call")
    return Table("The local engine beside its peers", header, rows)


def _agreement(agreements: Iterable[Agreement]) -> Table:
    rows = [
        [
            each.name,
            f"{each.fills:,}",
            f"{each.our_fills:,}",
            f"{each.equity:,.2f}",
            f"{each.our_equity:,.2f}",
            "yes" if each.same else "NO",
        ]
        for each in agreements
    ]
    header = ("contender", "fills", "ours", "last equity", "ours", "same work")
    return Table("The same work?", header, rows)


def _changes(changes: Sequence[Change]) -> Table:
    rows = [
        [
            change.name,
            f"{_number(change.now)} {change.unit}",
            f"{_number(change.before)} {change.unit}",
            f"{change.ratio:.2f}",
            _spread(change),
            "FELL" if change.fell else "",
        ]
        for change in changes
    ]
    if (machine := drift(changes)) is not None:
        rows.append(
            ["the peers' speed, which tells of the machine", "", "", f"{machine:.2f}", "", ""]
        )
    title = f"Beside the last results: FELL is worse by more than {comparison.FALL:.0%}"
    return Table(title, ("figure", "now", "before", "ratio", "spread", "flag"), rows)


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
