"""Summaries of many accounts: made of their ledgers, and as the text that a summary event holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from streambt_spark.core.ledger.lots import open_lots
from streambt_spark.core.ledger.summary import (
    SUMMARY,
    exact,
    finish,
    observe_equity,
    observe_fill,
    open_summary,
)
from streambt_spark.core.ledger.sums import parted
from streambt_spark.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.ledger.trades import Fills

VERSION = 1
"""Of the text; a summary of another version is refused."""

_FIELDS = SUMMARY.names or ()
_SUMS = tuple(name.removesuffix("_high") for name in _FIELDS if name.endswith("_high"))
"""The exact sums, each two fields."""
_PLAIN = tuple(name for name in _FIELDS if not name.startswith(tuple(f"{s}_" for s in _SUMS)))


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Accounts over their slices, lane after lane and ascending in time."""

    ts: NDArray[np.int64]  # UTC microseconds
    session: NDArray[np.int64]
    equity: NDArray[np.int64]  # minor units
    exposure: NDArray[np.int64]  # minor units, gross value of the positions

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, rows: slice) -> Curve:
        """Return some of the slices."""
        return Curve(self.ts[rows], self.session[rows], self.equity[rows], self.exposure[rows])


def summarise(
    initial: NDArray[np.int64],
    curve: Curve,
    slices: NDArray[np.int64],
    fills: Fills,
    filled: NDArray[np.int64],
    symbols: int,
) -> NDArray[np.void]:
    """Return the finished summaries of L accounts, SUMMARY[L].

    `initial` is the cash of each. Lane k has the rows from `slices[k]` to `slices[k + 1]` of
    `curve`, and from `filled[k]` to `filled[k + 1]` of `fills`, which trade `symbols` symbols.
    """
    summaries = open_summary(initial)
    spans = zip(pairwise(slices), pairwise(filled), strict=True)
    for k, ((first, last), (start, stop)) in enumerate(spans):
        own, traded = curve.take(slice(first, last)), fills.take(slice(start, stop))
        one, lots = summaries[k : k + 1], open_lots(symbols, len(traded))
        _observe_curve(one, own.ts, own.equity, own.exposure, own.session)
        _observe_fills(
            one, lots, traded.ts, traded.symbol, traded.side, traded.quantity, traded.commission,
            traded.amount,
        )  # fmt: skip
    return summaries


@njit(cache=True)
def _observe_curve(summary, ts, equity, exposure, session):  # type: ignore[no-untyped-def]
    for t in range(len(ts)):
        observe_equity(summary[0], ts[t], equity[t], exposure[t], session[t])
    finish(summary[0])


@njit(cache=True)
def _observe_fills(summary, lots, ts, symbol, side, quantity, commission, amount):  # type: ignore[no-untyped-def]
    for n in range(len(ts)):
        observe_fill(
            summary[0], lots, ts[n], symbol[n], side[n], quantity[n], commission[n], amount[n]
        )


def to_text(summary: np.void) -> str:
    """Return a summary as JSON, every bit of it kept; equal summaries have equal texts."""
    sums = {name: exact(summary, name) for name in _SUMS}
    plain = {name: summary[name].item() for name in _PLAIN}
    return json.dumps({"version": VERSION, **plain, **sums}, separators=(",", ":"))


def from_text(text: str) -> NDArray[np.void]:
    """Return the summary of a text, SUMMARY[1]. Raises DataError where it is not one."""
    try:
        content = json.loads(text)
        version = content.pop("version")
    except (ValueError, AttributeError, KeyError, TypeError):
        raise DataError(f"expected the text of a summary, found {text:.60}") from None
    if version != VERSION or content.keys() != {*_PLAIN, *_SUMS}:
        raise DataError(
            f"expected a summary of version {VERSION}, found version {version}; run again"
        )
    summary = np.zeros(1, SUMMARY)
    for name in _PLAIN:
        summary[name] = content[name]
    for name in _SUMS:
        summary[f"{name}_high"], summary[f"{name}_low"] = parted(content[name])
    return summary
