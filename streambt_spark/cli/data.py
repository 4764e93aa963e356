"""`streambt validate`: what a file of bars or a strategy file is worth, before anything runs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from streambt_spark.cli.inputs import Input, read_input
from streambt_spark.cli.options import Columns, End, Interval, Profile, Start, Symbols, Tz
from streambt_spark.cli.output import console

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

EXAMPLES = 5


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(validate)


def validate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Bars: CSV, gzipped CSV or Parquet.")],
    interval: Interval = None,
    symbols: Symbols = None,
    columns: Columns = None,
    tz: Tz = None,
    start: Start = None,
    end: End = None,
    profile: Profile = None,
) -> int:
    """Check a file's bars: counts for each symbol, and why rows are refused (then exit 1)."""
    from streambt_spark.config import load

    options = {
        "bars": file, "interval": interval, "symbols": symbols, "columns": columns,
        "tz": tz, "start": start, "end": end,
    }  # fmt: skip
    found = read_input(load(options, profile).settings)
    out = console()
    out.print(_symbols_table(found))
    counts = found.counts
    out.print(
        f"rows read {counts.read:,} = accepted {counts.accepted:,} + duplicate "
        f"{counts.duplicate:,} + rejected {counts.rejected:,}; revised {counts.revised:,}"
    )
    if not counts.rejected or found.quarantine is None:
        return 0
    for reason, number in sorted(Counter(found.quarantine["reason"].to_pylist()).items()):
        out.print(f"{reason}: {number:,}")
    out.print(_examples_table(found.quarantine))
    return 1


def _symbols_table(found: Input) -> Table:
    import numpy as np
    from rich.table import Table

    bars = found.bars
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
