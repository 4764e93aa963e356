"""Lanes in tables: the best first, by the names that their labels give them."""

from __future__ import annotations

import pytest
from rich.console import Console

from streambt_spark.cli.output import metrics_table
from streambt_spark.report.lanes import ranked, title

NAN = float("nan")


def test_ranked_by_sharpe_then_return() -> None:
    """Lanes without a Sharpe come last, and among equals the better return wins, then the first."""
    figures = {
        "none": {"sharpe": None, "total_return": 9.0},
        "low": {"sharpe": -0.5, "total_return": 1.0},
        "equal": {"sharpe": 1.5, "total_return": 0.1},
        "better": {"sharpe": 1.5, "total_return": 0.2},
        "same": {"sharpe": 1.5, "total_return": 0.2},
        "nan": {"sharpe": NAN, "total_return": NAN},
        "empty": {},
    }
    assert ranked(figures) == ["better", "same", "equal", "low", "none", "nan", "empty"]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ({"fast": 10, "slow": 30.5}, "fast=10 slow=30.5"),
        ({}, "0123456789ab"),
        (None, "0123456789ab"),
    ],
)
def test_title(label: dict[str, object] | None, expected: str) -> None:
    """The label where there is one, else what is long enough of the id to tell it by."""
    assert title("0123456789abcdef", label) == expected


def test_table_shows_the_best_by_label() -> None:
    """Four of five side by side, the best first; a label is text and no markup."""
    figures = {f"lane{n}": {"sharpe": float(n), "fills": n} for n in range(5)}
    labels = {"lane4": {"fast": "[red]"}}
    console = Console(width=120, record=True, file=None)
    with console.capture() as captured:
        console.print(metrics_table(figures, labels))
    head, *rows = captured.get().splitlines()
    assert head.split() == [
        "strategy",
        "(best",
        "of",
        "5)",
        "fast=[red]",
        "lane3",
        "lane2",
        "lane1",
    ]
    assert next(row.split() for row in rows if "Fills" in row) == ["Fills", "4", "3", "2", "1"]
