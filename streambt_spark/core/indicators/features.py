"""Features: what must be kept of the stream so that functions can go on, and its codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark.core.indicators.accumulators import STATE
from streambt_spark.core.indicators.windows import sizes_of_past

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from streambt_spark.core.indicators.program import Program


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What is kept between steps.

    `count` is int64[S], the bars each symbol has shown, and `slices` the slices so far. `past`
    holds, by slot and symbol, the values since the earliest anchor that a reader needs; `panels`
    the same by slice, float64[time, symbol], for each slot that is read across symbols. `totals` is
    float64[A, S, STATE], TA-Lib's running totals; `carries` holds float64[S, K] for each
    accumulated function of the user's, and `begun` is bool[P, S], whether a pointwise or an
    accumulated one has seen a number of the symbol. `published` is int64[H, S], a hash of what was
    published of the current span, and `published_panels` int64[C] for functions across symbols;
    `witness` the last rows of one symbol that each pointwise function saw and gave.
    """

    count: NDArray[np.int64]
    slices: int
    past: NDArray[np.float64]
    panels: tuple[NDArray[np.float64], ...]
    totals: NDArray[np.float64]
    carries: tuple[NDArray[np.float64], ...]
    begun: NDArray[np.bool_]
    published: NDArray[np.int64]
    published_panels: NDArray[np.int64]
    witness: tuple[NDArray[np.float64], ...]


def open_features(program: Program, symbols: int) -> Features:
    """Return the features before the first slice."""
    return Features(
        count=np.zeros(symbols, np.int64),
        slices=0,
        past=np.empty(0),
        panels=(np.empty((0, symbols)),) * len(program.panel_slots),
        totals=np.zeros((program.totals, symbols, STATE)),
        carries=(np.empty((symbols, 0)),) * program.carries,
        begun=np.zeros((program.beginners, symbols), bool),
        published=np.zeros((program.published, symbols), np.int64),
        published_panels=np.zeros(program.published_panels, np.int64),
        witness=tuple(np.empty((width, 0)) for width in program.witnesses),
    )


_LISTS = ("panels", "carries", "witness")


def encode_features(features: Features) -> dict[str, Any]:
    """Return the features as plain values: arrays, lists of arrays and numbers by name."""
    return {
        name: list(value) if name in _LISTS else value
        for name in Features.__slots__
        for value in [getattr(features, name)]
    }


def decode_features(body: Mapping[str, Any], program: Program) -> Features:
    """Return the features that `encode_features` made plain.

    Raises KeyError, TypeError or ValueError where they are not such of `program`.
    """
    values: dict[str, Any] = {
        name: tuple(body[name]) if name in _LISTS else body[name] for name in Features.__slots__
    }
    features = Features(**values)
    symbols = len(features.count)
    new = open_features(program, symbols)
    for name in ("count", "totals", "begun", "published", "published_panels"):
        _same_form(name, getattr(features, name), getattr(new, name))
    if not isinstance(features.slices, int):
        raise TypeError(f"slices is a {type(features.slices).__name__}")
    size = int(sizes_of_past(features.count, len(program.slots), program.readers).sum())
    if features.past.shape != (size,) or features.past.dtype != np.float64:
        raise ValueError(f"past has the shape {features.past.shape}, expected ({size},)")
    for name in _LISTS:
        arrays, expected = getattr(features, name), getattr(new, name)
        if len(arrays) != len(expected):
            raise ValueError(f"{name} holds {len(arrays)} arrays, expected {len(expected)}")
        if any(a.ndim != 2 or a.dtype != np.float64 for a in arrays):
            raise ValueError(f"{name} holds an array that is no float64 matrix")
    if any(a.shape[1] != symbols for a in features.panels):
        raise ValueError("panels are of other symbols")
    if any(len(a) != symbols for a in features.carries):
        raise ValueError("carries are of other symbols")
    if any(len(a) != w for a, w in zip(features.witness, program.witnesses, strict=True)):
        raise ValueError("witness is of another function")
    return features


def _same_form(name: str, array: NDArray[Any], expected: NDArray[Any]) -> None:
    if array.shape != expected.shape or array.dtype != expected.dtype:
        raise ValueError(
            f"{name} is {array.dtype}{array.shape}, expected {expected.dtype}{expected.shape}"
        )
