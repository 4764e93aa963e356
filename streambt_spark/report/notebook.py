"""A result in a notebook: its lanes ranked, with their key figures, and what the run was."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING

from streambt_spark.report import text
from streambt_spark.report.lanes import ranked, title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LANES = 10
"""Lanes listed at most."""

_FIGURES: tuple[tuple[str, str, Callable[[object], str]], ...] = (
    ("Total return", "total_return", text.signed_percent),
    ("Annual return", "annual_return", text.signed_percent),
    ("Sharpe", "sharpe", text.number),
    ("Sortino", "sortino", text.number),
    ("Max drawdown", "max_drawdown", text.percent),
    ("Trades", "trades", partial(text.number, digits=0)),
    ("Win rate", "win_rate", partial(text.percent, digits=1)),
    ("Final equity", "final", text.number),
)
_LEFT = ' style="text-align:left"'


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """What is shown: facts of the run, metrics and labels by lane, errors, remarks and counts."""

    facts: Mapping[str, object]
    figures: Mapping[str, Mapping[str, object]]
    labels: Mapping[str, Mapping[str, object]]
    errors: Sequence[str]
    notes: Sequence[str]
    counts: Mapping[str, int]


def overview_html(overview: Overview) -> str:
    """Return the overview as a fragment of HTML; names and texts of the user are escaped."""
    facts = " · ".join(f"{escape(k)} <b>{escape(str(v))}</b>" for k, v in overview.facts.items())
    counts = ", ".join(f"{escape(k)} {count:,}" for k, count in overview.counts.items())
    paragraphs = [f'<p style="color:#c2333a">{escape(error)}</p>' for error in overview.errors]
    paragraphs += [f"<p>{escape(note)}</p>" for note in overview.notes]
    return f"<div><p>{facts}</p>{_table(overview)}{''.join(paragraphs)}<p>{counts}</p></div>"


def _table(overview: Overview) -> str:
    heads = "".join(f"<th>{escape(label)}</th>" for label, _, _ in _FIGURES)
    lanes = ranked(overview.figures)[:LANES]
    rows = "".join(_row(lane, overview) for lane in lanes)
    more = len(overview.figures) - len(lanes)
    rest = f"<p>and {more:,} more: see <code>lanes</code></p>" if more else ""
    head = f"<thead><tr><th{_LEFT}>Strategy</th>{heads}</tr></thead>"
    return f"<table>{head}<tbody>{rows}</tbody></table>{rest}"


def _row(lane: str, overview: Overview) -> str:
    figures = overview.figures[lane]
    cells = "".join(
        f"<td>{escape(as_text(figures.get(name)))}</td>" for _, name, as_text in _FIGURES
    )
    name = escape(title(lane, overview.labels.get(lane)))
    return f'<tr><th{_LEFT} title="{escape(lane)}">{name}</th>{cells}</tr>'
