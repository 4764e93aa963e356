"""`streambt ingest`, `export` and `validate`: bars into the store, out of it, and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streambt_spark.cli.inputs import (
    Input,
    bars_path,
    interval_of,
    read_input,
    reading,
    time_range,
)
from streambt_spark.cli.options import takes
from streambt_spark.cli.output import console, counts_line
from streambt_spark.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

    from streambt_spark.stores.intake import Counts
    from streambt_spark.stores.lake import Snapshot
    from streambt_spark.stores.mongo import BarStore

EXAMPLES = 5
"""Refused rows that validate shows."""


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (ingest, export, validate):
        app.command()(command)


@takes(
    "data.bars", "data.interval", "data.symbols", "data.columns", "data.tz", "data.allow_rejected",
    "mongo",
    argument="data.bars",
)  # fmt: skip
def ingest(settings: Settings) -> None:
    """Bring a file of bars into MongoDB; count duplicates, keep revisions, quarantine bad rows."""
    look_at_bars(settings)
    with open_store(settings) as store:
        counts = ingest_file(store, settings)
    typer.echo(counts_line(asdict(counts)))


@takes(
    "data.interval", "data.symbols", "data.tz", "data.start", "data.end", "export", "mongo"
)  # fmt: skip
def export(
    settings: Settings,
    target: Annotated[str, typer.Argument(metavar="ADDRESS", help="A folder or s3a://….")],
) -> None:
    """Export stored bars as an immutable snapshot ADDRESS/NAME/VERSION, checked row by row."""
    with open_store(settings) as store:
        snapshot = export_snapshot(store, settings, target)
    typer.echo(f"{snapshot.rows:,} bars of {len(snapshot.symbols)} symbols in {snapshot.path}")


@contextmanager
def open_store(settings: Settings) -> Iterator[BarStore]:
    """Yield the store at --mongo, or the one of a private server that lives as long as this."""
    from streambt_spark.stores.embedded import embedded_mongod
    from streambt_spark.stores.mongo import BarStore

    mongo = settings.mongo
    if mongo.address is not None:
        address = mongo.address.get_secret_value()
        with BarStore(address, mongo.database, timeout=mongo.timeout) as store:
            yield store
        return
    with (
        embedded_mongod(mongo.folder) as address,
        BarStore(address, mongo.database, timeout=mongo.timeout) as store,
    ):
        yield store


def look_at_bars(settings: Settings) -> None:
    """Look at all rows of the file; raises what is wrong before a store is opened for it."""
    from streambt_spark.stores.intake import survey

    survey(bars_path(settings), **reading(settings))


def ingest_file(store: BarStore, settings: Settings) -> Counts:
    """Store the rows of a file that was looked at, and return what became of them."""
    from streambt_spark.stores.intake import check_source

    return store.ingest(check_source(bars_path(settings), surveyed=True, **reading(settings)))


def export_snapshot(store: BarStore, settings: Settings, target: str) -> Snapshot:
    """Export the stored bars of the wanted symbols and times; return the checked snapshot."""
    from streambt_spark.core.market.bars import symbol_names
    from streambt_spark.stores import catalogue

    interval = interval_of(settings)
    start, end = time_range(settings, interval)
    return catalogue.export(
        store,
        target,
        interval=interval,
        symbols=symbol_names(settings.data.symbols) or None,
        start=start,
        end=end,
        format=settings.export.format,
        name=settings.export.name,
    )


@takes(
    "data", "run.parameters",
    without=("data.bars", "data.snapshot", "data.calendar", "data.allow_rejected"),
)  # fmt: skip
def validate(
    settings: Settings,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Bars (CSV, gzipped CSV, Parquet) or STRATEGY.py.")
    ],
) -> int:
    """Check bars: counts, and why rows are refused (then exit 1). Check a strategy: its graph."""
    if file.endswith(".py"):
        return _validate_strategy(settings.replaced("run", strategy=file))
    source = read_input(settings.replaced("data", bars=file, snapshot=None, allow_rejected=True))
    out = console()
    out.print(_symbols_table(source))
    counts = source.counts
    out.print(counts_line(asdict(counts)))
    if not counts.rejected or source.quarantine is None:
        return 0
    for reason, number in sorted(Counter(source.quarantine["reason"].to_pylist()).items()):
        out.print(f"{reason}: {number:,}")
    out.print(_examples_table(source.quarantine))
    return 1


def _validate_strategy(settings: Settings) -> int:
    """Build the graph over the wanted symbols (any two by default), without a bar."""
    from streambt_spark.assembly import assemble
    from streambt_spark.cerebro import Universe

    universe = Universe(settings.data.symbols or ("A", "B"), settings.data.interval or "1d")
    plan = assemble(settings, universe).plan()
    names = ", ".join(node.function.name for node in plan.nodes)
    name = Path(settings.run.strategy or "").name
    typer.echo(f"{name}: {len(plan.lanes)} strategies on {len(plan.nodes)} nodes: {names}")
    return 0


def _symbols_table(source: Input) -> Table:
    import numpy as np
    from rich.table import Table

    from streambt_spark.core.market.bars import Bars

    assert isinstance(source.data, Bars)  # --bars is a file
    bars = source.data
    table = Table("symbol", "bars", "first", "last", box=None)
    for code, symbol in enumerate(bars.symbols):
        ts = bars.ts[bars.code == code].astype("datetime64[us]")
        if len(ts):
            first, last = (np.datetime_as_string(t, unit="m") + "Z" for t in (ts.min(), ts.max()))
            table.add_row(symbol, f"{len(ts):,}", first, last)
    return table


def _examples_table(quarantine: pa.Table) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("row", "reason", "as it came", box=None)
    for row in quarantine.slice(0, EXAMPLES).to_pylist():
        table.add_row(f"{row['row']:,}", row["reason"], escape(row["raw"]))
    return table
