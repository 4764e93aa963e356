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


def metrics_table(
    lanes: Mapping[str, Mapping[str, Any]], labels: Mapping[str, Mapping[str, Any]] | None = None
) -> Table:
    """Return the figures of the best lanes side by side; the others are in metrics.json."""
    from rich.markup import escape
    from rich.table import Table

    from streambt_spark.report import text
    from streambt_spark.report.lanes import ranked, title

    best = ranked(lanes)[:SHOWN_LANES]
    more = f" (best of {len(lanes):,})" if len(lanes) > len(best) else ""
    titles = (escape(title(name, (labels or {}).get(name))) for name in best)
    table = Table(f"strategy{more}", *titles, box=None)
    for label, field, style in FIGURES:
        write = partial(text.number, digits=0) if style == "count" else getattr(text, style)
        table.add_row(label, *(write(lanes[name].get(field)) for name in best))
    return table
