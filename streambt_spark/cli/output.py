"""What commands print."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streambt_spark.masking import mask

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from streambt_spark.stores.ledger import Failure

_PLAIN_ERRORS = "streambt-plain"
_PLAIN = {"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "…": "...", "·": "|", "µ": "u", "×": "x"}  # noqa: RUF001 - them
"""What is written where an encoding lacks a sign: a loss must not lose its minus."""
WIDE = 200
"""Columns where the output is no terminal: a line must not break inside a value."""


def console(*, stderr: bool = False) -> Console:
    """Return the console for results (standard output) or for remarks (standard error)."""
    from streambt_spark.cli.terminal import Terminal

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDE
    return Terminal(stderr=stderr, width=width, soft_wrap=True, highlight=False)


def open_all() -> None:
    """Let a standard stream that the process was started without be one that nobody reads."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - until the process ends


def write_any_text() -> None:
    """Let a sign that the output's encoding lacks be a plain one, and not the command's end."""
    codecs.register_error(_PLAIN_ERRORS, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_PLAIN_ERRORS)


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in signs), error.end


def remark(text: str, *, style: str | None = None) -> None:
    """Print a remark that is no result (standard error), without its secrets.

    It ends nothing where nobody reads it: a run must not depend on who watches.
    """
    with suppress(OSError):
        console(stderr=True).print(mask(" ".join(text.split())), markup=False, style=style)


def disabled_line(failure: Failure) -> str:
    """Return what is said of a strategy whose code raised."""
    return f"strategy {failure.lane:.12} was disabled at {failure.time}: {failure.text}"


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
