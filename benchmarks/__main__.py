"""Measure this project beside backtrader and vectorbt: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import machine, report
from benchmarks.contenders import CONTENDERS, Bench
from benchmarks.processes import ChildFailed
from benchmarks.targets import agreements
from streambt_spark.errors import StreambtError

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit status: 1 where the contenders' work differs."""
    asked = _parser().parse_args(arguments)
    console = Console()
    bench = Bench.of(asked.cache, quick=asked.quick)
    asked.cache.mkdir(parents=True, exist_ok=True)
    load = [machine.busy()]
    measured = {}
    for name in asked.only:
        with console.status(f"{name} …"):
            try:
                measured[name] = CONTENDERS[name](bench)
            except (ChildFailed, StreambtError, subprocess.CalledProcessError) as error:
                console.print(f"{name} could not be measured: {error}", style="red", markup=False)
                return 1
    load.append(machine.busy())
    shown = report.tables(bench, measured)
    report.show(shown, console)
    folder, file = (asked.cache, "quick") if asked.quick else (asked.results, "latest")
    report.write(folder, file, report.document(bench, machine.describe(), load, measured), shown)
    return 0 if all(found.same for found in agreements(measured)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the bars; results stay in the cache"
    )
    parser.add_argument(
        "--only",
        type=_names,
        default=list(CONTENDERS),
        metavar="NAME,…",
        help=f"some of {', '.join(CONTENDERS)}",
    )
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "bench")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    return parser


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or (unknown := [name for name in names if name not in CONTENDERS]):
        raise argparse.ArgumentTypeError(f"{unknown or text!r}: choose from {list(CONTENDERS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
