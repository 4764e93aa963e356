"""Where the time goes: cProfile tables as rows, most expensive first."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOP = 15


def profile_table(run: Callable[[], Any], top: int = TOP) -> list[dict[str, Any]]:
    """Run under cProfile and return its costliest functions."""
    profile = cProfile.Profile()
    profile.runcall(run)
    return rows_of(pstats.Stats(profile), top)


def rows_of(stats: pstats.Stats, top: int = TOP) -> list[dict[str, Any]]:
    """Return the functions with most time of their own; folders are left out of their names."""
    functions = stats.stats  # type: ignore[attr-defined]
    costly = sorted(functions.items(), key=lambda item: -item[1][2])[:top]
    return [
        {
            "function": _name(*where),
            "calls": calls,
            "own_seconds": round(own, 3),
            "total_seconds": round(total, 3),
        }
        for where, (_, calls, own, total, _) in costly
    ]


def _name(file: str, line: int, function: str) -> str:
    # Spark's workers leave folders out altogether.
    return function if file == "~" else f"{'/'.join(Path(file).parts[-2:])}:{function}"
