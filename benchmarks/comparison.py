"""A run beside an earlier one: what became slower or larger, and by how much."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Figure

FALL = 0.05
"""How much a figure may be worse than before, as a fraction, before it is flagged."""


@dataclass(frozen=True, slots=True)
class Change:
    """A figure now and before; `ratio` is above 1 where it became better."""

    name: str
    unit: str
    now: float
    before: float
    ratio: float
    spread: float | None
    ours: bool

    @property
    def fell(self) -> bool:
        """Whether it is one of ours and became worse by more than FALL."""
        return self.ours and self.ratio < 1 - FALL


def changes(figures: Sequence[Figure], earlier: Mapping[str, Any] | None) -> list[Change]:
    """Return how the best of each figure changed, for those that the earlier run has too."""
    before = {each["name"]: each["best"] for each in (earlier or {}).get("figures", [])}
    return [
        _change(figure, figure.best, before[figure.name])
        for figure in figures
        if figure.best and before.get(figure.name)
    ]


def _change(figure: Figure, now: float, before: float) -> Change:
    ratio = before / now if figure.less else now / before
    return Change(figure.name, figure.unit, now, before, ratio, figure.spread, figure.ours)


def drift(changes: Sequence[Change]) -> float | None:
    """Return the median ratio of the peers' speed: the same programs, so the machine's change."""
    ratios = [change.ratio for change in changes if not change.ours and change.unit != "MB"]
    return median(ratios) if ratios else None


def earlier_run(path: Path, bench: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return an earlier run's document, None where there is none or it had other sizes."""
    if not path.is_file():
        return None
    document: dict[str, Any] = json.loads(path.read_text())
    same = all(bench[name] == size for name, size in document["sizes"].items() if name in bench)
    return document if same else None


def as_data(changes: Sequence[Change]) -> dict[str, Any]:
    """Return the changes as plain data."""
    return {
        "fall": FALL,
        "drift": drift(changes),
        "changes": [{**asdict(change), "fell": change.fell} for change in changes],
    }
