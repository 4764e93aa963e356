"""`streambt ingest`, `export` and `validate`: bars into the store, out of it, and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streambt_spark.cli import options as opt
from streambt_spark.cli.inputs import Input, interval_of, read_input, time_range
from streambt_spark.cli.output import console

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

    from streambt_spark.config import Settings
    from streambt_spark.stores.intake import Counts
    from streambt_spark.stores.lake import Snapshot
    from streambt_spark.stores.mongo import BarStore

EXAMPLES = 5
BarsFile = Annotated[str, typer.Argument(metavar="FILE", help="Bars: CSV, gzipped CSV or Parquet.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (ingest, export, validate):
        app.command()(command)


def ingest(
    bars: BarsFile,
    interval: opt.Interval = None,
    symbols: opt.Symbols = None,
    columns: opt.Columns = None,
    tz: opt.Tz = None,
    address: opt.MongoAddress = None,
    database: opt.Database = None,
    timeout: opt.Timeout = None,
    folder: opt.MongoFolder = None,
    profile: opt.Profile = None,
    show_config: opt.ShowConfig = False,
) -> None:
    """Bring a file of bars into MongoDB; count duplicates, keep revisions, quarantine bad rows."""
    given = {k: v for k, v in locals().items() if k not in ("profile", "show_config")}
    from streambt_spark.config import load

    loaded = load(given, profile)
    if show_config:
        typer.echo(loaded.text)
        return
    look_at_bars(loaded.settings)
    with open_store(loaded.settings) as store:
        counts = ingest_file(store, loaded.settings)
    typer.echo(told(counts))


def export(
    target: Annotated[str, typer.Argument(metavar="ADDRESS", help="A folder or s3a://….")],
    interval: opt.Interval = None,
    symbols: opt.Symbols = None,
    tz: opt.Tz = None,
    start: opt.Start = None,
    end: opt.End = None,
    name: opt.SnapshotName = None,
    format: opt.SnapshotFormat = None,  # noqa: A002 - the option's name
    address: opt.MongoAddress = None,
    database: opt.Database = None,
    timeout: opt.Timeout = None,
    folder: opt.MongoFolder = None,
    profile: opt.Profile = None,
    show_config: opt.ShowConfig = False,
) -> None:
    """Export stored bars as an immutable snapshot ADDRESS/NAME/VERSION, checked row by row."""
    given = {k: v for k, v in locals().items() if k not in ("target", "profile", "show_config")}
    from streambt_spark.config import load

    loaded = load(given, profile)
    if show_config:
        typer.echo(loaded.text)
        return
    with open_store(loaded.settings) as store:
        snapshot = export_snapshot(store, loaded.settings, target)
    typer.echo(f"{snapshot.rows:,} bars of {len(snapshot.symbols)} symbols in {snapshot.path}")


@contextmanager
def open_store(settings: Settings) -> Iterator[BarStore]:
    """Yield the store at --mongo, or the one of a private server that lives as long as this."""
    from streambt_spark.stores.embedded import embedded_mongod
    from streambt_spark.stores.mongo import BarStore

    told = settings.mongo
    if told.address is not None:
        with BarStore(
            told.address.get_secret_value(), told.database, timeout=told.timeout
        ) as store:
            yield store
        return
    with (
        embedded_mongod(told.folder) as address,
        BarStore(address, told.database, timeout=told.timeout) as store,
    ):
        yield store


def look_at_bars(settings: Settings) -> None:
    """Read the start of --bars; raises what is wrong with it before a store is opened for it."""
    from streambt_spark.stores.sources import read_source

    next(read_source(settings.data.bars or "", **_reading(settings)))


def ingest_file(store: BarStore, settings: Settings) -> Counts:
    """Store the rows of --bars and return what became of them."""
    from streambt_spark.stores.intake import check_source

    return store.ingest(check_source(settings.data.bars or "", **_reading(settings)))


def _reading(settings: Settings) -> dict[str, Any]:
    data = settings.data
    return {
        "interval": interval_of(settings),
        "columns": data.columns,
        "tz": data.tz,
        "symbols": data.symbols or None,
    }


def export_snapshot(store: BarStore, settings: Settings, target: str) -> Snapshot:
    """Export the stored bars of the wanted symbols and times; return the checked snapshot."""
    from streambt_spark.stores import catalogue

    interval = interval_of(settings)
    start, end = time_range(settings, interval)
    return catalogue.export(
        store,
        target,
        interval=interval,
        symbols=settings.data.symbols or None,
        start=start,
        end=end,
        format=settings.export.format,
        name=settings.export.name,
    )


def told(counts: Counts) -> str:
    """Return the counts as a line."""
    return (
        f"rows read {counts.read:,} = accepted {counts.accepted:,} + duplicate "
        f"{counts.duplicate:,} + late {counts.late:,} + rejected {counts.rejected:,}; "
        f"revised {counts.revised:,}"
    )


def validate(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Bars (CSV, gzipped CSV, Parquet) or STRATEGY.py.")
    ],
    interval: opt.Interval = None,
    symbols: opt.Symbols = None,
    columns: opt.Columns = None,
    tz: opt.Tz = None,
    start: opt.Start = None,
    end: opt.End = None,
    parameters: opt.Parameters = None,
    profile: opt.Profile = None,
) -> int:
    """Check bars: counts, and why rows are refused (then exit 1). Check a strategy: its graph."""
    given = {k: v for k, v in locals().items() if k not in ("file", "profile")}
    from streambt_spark.config import load

    if file.endswith(".py"):
        return _validate_strategy(load(given | {"strategy": file}, profile).settings)
    found = read_input(load(given | {"bars": file}, profile).settings)
    out = console()
    out.print(_symbols_table(found))
    counts = found.counts
    out.print(told(counts))
    if not counts.rejected or found.quarantine is None:
        return 0
    for reason, number in sorted(Counter(found.quarantine["reason"].to_pylist()).items()):
        out.print(f"{reason}: {number:,}")
    out.print(_examples_table(found.quarantine))
    return 1


def _validate_strategy(settings: Settings) -> int:
    """Build the graph over the wanted symbols (any two by default), without a bar."""
    from streambt_spark import strategy_file as strategy
    from streambt_spark.cerebro import Cerebro, Universe
    from streambt_spark.cli.backtest import broker_of

    loaded = strategy.load(settings.run.strategy or "")
    cerebro = Cerebro(broker_of(settings), calendar=settings.data.calendar)
    universe = Universe(settings.data.symbols or ("A", "B"), settings.data.interval or "1d")
    loaded.build(cerebro, cerebro.add_data(universe), settings.run.parameters)
    plan = cerebro.plan()
    names = ", ".join(node.function.name for node in plan.nodes)
    typer.echo(
        f"{loaded.path.name}: {len(plan.lanes)} strategies on {len(plan.nodes)} nodes: {names}"
    )
    return 0


def _symbols_table(found: Input) -> Table:
    import numpy as np
    from rich.table import Table

    from streambt_spark.core.market.bars import Bars

    assert isinstance(found.data, Bars)  # --bars is a file
    bars = found.data
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
