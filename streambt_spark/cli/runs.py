"""`streambt run`, `show` and `compare`: make a run, look at it, hold it against another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streambt_spark.cli.folder import Folder
from streambt_spark.cli.options import takes
from streambt_spark.cli.output import console, metrics_table
from streambt_spark.errors import DataError
from streambt_spark.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="The --out of a run.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (run, show, compare):
        app.command()(command)


@takes("data", "broker", "run", argument="run.strategy")
def run(settings: Settings) -> None:
    """Run a strategy over bars; write the ledger, figures and report to --out."""
    from streambt_spark.cli.backtest import backtest

    backtest(settings)


def show(folder: RunFolder) -> None:
    """Print a finished run's figures."""
    held = Folder(folder)
    manifest = held.manifest()
    out = console()
    out.print(metrics_table(held.metrics()["lanes"], manifest.get("labels")))
    out.print(", ".join(f"{name} {count:,}" for name, count in manifest["counts"].items()))
    out.print(f"run {manifest['run_id']}\ndigest {manifest['digest']}")


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="The --out of a run.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The --out of another.")],
) -> int:
    """Compare two runs' ledgers: equal (exit 0), or the first event that differs (exit 1)."""
    from streambt_spark.stores.ledger import (
        account_events,
        event_line,
        first_difference,
        ledger_digest,
    )

    folders = (Folder(first), Folder(second))
    ledgers = [folder.read_ledger() for folder in folders]
    out = console()
    digests = [ledger_digest(ledger) for ledger in ledgers]
    for folder, digest in zip(folders, digests, strict=True):
        if digest != (expected := folder.manifest()["digest"]):
            raise DataError(
                f"the ledger of {folder.path} has digest {digest:.12}, its manifest says "
                f"{expected:.12}: it was changed after the run; run again into another folder",
                address=str(folder.path),
            )
    if digests[0] == digests[1]:
        out.print(f"equal: {len(account_events(ledgers[0])):,} events, digest {digests[0]}")
        return 0
    for line in _setting_differences(*(folder.manifest() for folder in folders)):
        out.print(line, markup=False)
    events = [_comparable(account_events(ledger)) for ledger in ledgers]
    at = first_difference(*events)
    out.print(f"different from event {at + 1:,} on (of {len(events[0]):,} and {len(events[1]):,})")
    for folder, table in zip(folders, events, strict=True):
        line = event_line(table, at) if at < len(table) else "no further event"
        out.print(f"{folder.path}: {line}", markup=False)
    return 1


def _setting_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    """Yield what may explain a difference: settings that a result depends on."""
    from streambt_spark.report.text import flatten

    both = []
    for manifest in (a, b):
        names = ("strategy", "parameters", "bars", "symbols", "interval", "versions")
        settings = {name: manifest.get(name) for name in names}
        both.append(dict(flatten({**settings, "broker": manifest["settings"]["broker"]})))
    for name in sorted(both[0].keys() | both[1].keys()):
        before, after = (settings.get(name, "none") for settings in both)
        if before != after:
            yield f"{name}: {before} against {after}"


def _comparable(events: pa.Table) -> pa.Table:
    """Return events with the lane's name left out where there is one lane, so that only what
    happened is compared and not what the strategy is called.
    """
    import pyarrow as pa

    if len(events["lane"].unique()) > 1:
        return events
    at = events.column_names.index("lane")
    return events.set_column(at, "lane", pa.array([""] * len(events), pa.string()))
