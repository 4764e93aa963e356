"""Lanes as a reader meets them: the best first, each by the parameters it was labelled with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANKED_BY = ("sharpe", "total_return")
_SHORT = 12


def ranked(figures: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return the lanes by Sharpe, then by total return, the best first.

    `figures` are metrics by lane; lanes without a figure come after those that have it, and equals
    stay in their order.
    """
    return sorted(figures, key=lambda lane: [_descending(figures[lane].get(n)) for n in _RANKED_BY])


def title(lane: str, label: Mapping[str, object] | None = None) -> str:
    """Return a lane's label as text, such as `fast=10 slow=30`, else the start of its name."""
    return " ".join(f"{name}={value}" for name, value in (label or {}).items()) or lane[:_SHORT]


def _descending(value: object) -> tuple[bool, float]:
    missing = value is None or value != value
    return missing, 0.0 if missing else -float(str(value))
