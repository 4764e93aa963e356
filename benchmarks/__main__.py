"""Measure this project beside other backtesters: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import machine, report
from benchmarks.contenders import NAMES, Bench, Measured, plan
from benchmarks.processes import ChildFailed
from benchmarks.report import Report
from streambt_spark.errors import StreambtError

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 150
"""Columns of the tables in a log, where no terminal tells them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit status: 1 where the contenders' work differs."""
    asked = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    bench = Bench.of(asked.cache, quick=asked.quick)
    asked.cache.mkdir(parents=True, exist_ok=True)
    load = [machine.busy()]
    measured: Measured = {}
    for name, run in plan(asked.only).items():
        with console.status(f"{name} …"):
            try:
                measured |= run(bench)
            except (ChildFailed, StreambtError, subprocess.CalledProcessError) as error:
                console.print(f"{name} could not be measured: {error}", style="red", markup=False)
                return 1
    load.append(machine.busy())
    folder, file = _results(asked)
    said = Report.of(bench, measured, asked.against or folder / f"{file}.json")
    tables = report.tables(said)
    report.show(tables, console)
    document = report.document(said, machine.describe(), load)
    if set(asked.only) != set(NAMES):
        folder, file = asked.cache, "part"
    report.write(folder, file, document, tables)
    return 0 if all(agreement.same for agreement in said.agreements) else 1


def _results(asked: argparse.Namespace) -> tuple[Path, str]:
    """Return the folder and the name of the results of such a run."""
    return (asked.cache, "quick") if asked.quick else (asked.results, "latest")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the bars; results stay in the cache"
    )
    parser.add_argument(
        "--only",
        type=_names,
        default=list(NAMES),
        metavar="NAME,…",
        help=f"some of {', '.join(NAMES)}; results stay in the cache as part.json",
    )
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "bench")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="the earlier results to compare with; by default those that this run replaces",
    )
    return parser


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or (unknown := [name for name in names if name not in NAMES]):
        raise argparse.ArgumentTypeError(f"{unknown or text!r}: choose from {list(NAMES)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
