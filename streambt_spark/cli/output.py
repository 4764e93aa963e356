"""What commands print."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDE = 200
"""Columns where the output is no terminal: a line must not break inside a value."""


def console(*, stderr: bool = False) -> Console:
    """Return the console for results (standard output) or for remarks (standard error)."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDE
    return Console(stderr=stderr, width=width, soft_wrap=True, highlight=False)


def remark(text: str) -> None:
    """Print a remark that is no result (standard error)."""
    console(stderr=True).print(text, markup=False)


def counts_line(counts: Mapping[str, int]) -> str:
    """Return what became of a source's rows, as the sum that it is."""
    parts = " + ".join(f"{n} {counts[n]:,}" for n in ("accepted", "duplicate", "late", "rejected"))
    return f"rows read {counts['read']:,} = {parts}; revised {counts['revised']:,}"


FIGURES = (
    ("Start", "start", "moment"),
    ("End", "end", "moment"),
    ("Start cash", "initial", "number"),
    ("Final equity", "final", "number"),
    ("Total return", "total_return", "signed_percent"),
    ("Annual return", "annual_return", "signed_percent"),
    ("Volatility", "volatility", "percent"),
    ("Sharpe", "sharpe", "number"),
    ("Sortino", "sortino", "number"),
    ("Calmar", "calmar", "number"),
    ("Max drawdown", "max_drawdown", "percent"),
    ("Drawdown length", "max_drawdown_duration_days", "days"),
    ("Turnover a year", "turnover", "percent"),
    ("Time in market", "time_in_market", "percent"),
    ("Fills", "fills", "count"),
    ("Commission", "total_commission", "number"),
    ("Closed trades", "trades", "count"),
    ("Win rate", "win_rate", "percent"),
    ("Profit factor", "profit_factor", "number"),
    ("Expectancy", "expectancy", "signed"),
    ("Average win", "average_win", "signed"),
    ("Average loss", "average_loss", "signed"),
    ("Average holding", "average_holding_days", "days"),
)
"""Label, field of the metrics and how it is written."""

SHOWN_LANES = 4


def metrics_table(lanes: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the figures of the first lanes side by side; the others are in metrics.json."""
    from rich.table import Table

    from streambt_spark.report import text

    shown = list(lanes.items())[:SHOWN_LANES]
    more = f" (of {len(lanes)})" if len(lanes) > len(shown) else ""
    table = Table(f"strategy{more}", *(name[:12] for name, _ in shown), box=None)
    for label, field, style in FIGURES:
        write = partial(text.number, digits=0) if style == "count" else getattr(text, style)
        table.add_row(label, *(write(figures.get(field)) for _, figures in shown))
    return table
