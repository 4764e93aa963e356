"""A user's own allocation function: how it is asked, and what is told when it fails."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark.core.broker.allocation import AllocationFunction, Bar, Portfolio
from streambt_spark.errors import BadParameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.broker.terms import Terms
    from streambt_spark.core.market.panel import Panel

FAILURES = (Exception, SystemExit)
"""What a function may raise without ending the run of the other lanes."""

_MOST_CHARACTERS = 300
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}")
_FOLDERS = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[\\/](?:[^\s\\/'\":]+[\\/])+(?=[^\s\\/'\":]+)")
_NOT_THE_USERS = ("site-packages", "dist-packages", "streambt_spark", "numba", "<frozen")


def ask(
    function: AllocationFunction,
    panel: Panel,
    t: int,
    strength: NDArray[np.float64],
    lane: Terms,
    account: np.void,
    positions: NDArray[np.void],
) -> NDArray[np.float64]:
    """Return the targets of one slice in lots, by symbol, NaN where there is none.

    A symbol without a bar in the slice is passed over: there is no close to decide on. Raises
    whatever the function raises, and BadParameter for what is no answer.
    """
    names, present = panel.symbols, panel.present[t]
    asking = np.flatnonzero(present & (np.abs(strength[t]) > 0))
    answer = function(
        {names[s]: float(strength[t, s]) for s in asking.tolist()},
        _portfolio(int(panel.ts[t]), names, lane, account, positions),
        {
            names[s]: Bar(*(float(getattr(panel, f)[t, s]) for f in Bar.__slots__))
            for s in np.flatnonzero(present).tolist()
        },
    )
    quantities = _checked(answer, names)
    targets = np.full(len(names), np.nan)
    for s, name in enumerate(names):
        if name in quantities and present[s]:
            traded = lane.traded[s]
            targets[s] = quantities[name] * traded["lot_den"] / traded["lot_num"]
    return targets


def _portfolio(
    ts: int,
    names: Sequence[str],
    lane: Terms,
    account: np.void,
    positions: NDArray[np.void],
) -> Portfolio:
    unit = lane.traded["lot_num"] / lane.traded["lot_den"]
    minor = float(lane.terms["minor"][0])

    def quantities(lots: NDArray[np.int64]) -> dict[str, float]:
        return {names[s]: float(lots[s] * unit[s]) for s in np.flatnonzero(lots).tolist()}

    return Portfolio(
        ts=ts,
        cash=int(account["cash"][0]) / minor,
        equity=int(account["last_equity"]) / minor,
        quantity=quantities(positions["lots"]),
        working=quantities(positions["working"]),
    )


def _checked(answer: object, names: Sequence[str]) -> dict[str, float]:
    if not isinstance(answer, Mapping):
        kind = "None" if answer is None else f"a {type(answer).__name__}"
        raise BadParameter(f"the allocation returned {kind}, expected {{symbol: quantity}}")
    if unknown := sorted(map(str, set(answer) - set(names))):
        raise BadParameter(
            f"the allocation names symbols outside the universe: {', '.join(unknown)}"
        )
    return {name: _number(name, quantity) for name, quantity in answer.items()}


def _number(name: str, quantity: Any) -> float:
    try:
        number = float(quantity)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise BadParameter(f"the allocation's target of {name} is {quantity!r}, expected a number")
    return number


def failure(error: BaseException, function: AllocationFunction) -> str:
    """Return an error in one line: its type and message, and where in the user's file it arose.

    The line is the same in every process: it names no folder and no address of memory.
    """
    said = _ADDRESS.sub("0x…", _FOLDERS.sub("", str(error)))
    message = " ".join(f"{type(error).__name__}: {said}".split()).removesuffix(":")
    if len(message) > _MOST_CHARACTERS:
        message = f"{message[: _MOST_CHARACTERS - 1]}…"
    file, line = _place(error, function)
    return f"{message} ({PurePath(file).name} line {line})"


def _place(error: BaseException, function: Any) -> tuple[str, int]:
    """Return the innermost line of the user's own code, or where the function begins."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not any(part in frame.filename for part in _NOT_THE_USERS) and frame.lineno:
            return frame.filename, frame.lineno
    code = getattr(function, "py_func", function).__code__
    return code.co_filename, code.co_firstlineno
