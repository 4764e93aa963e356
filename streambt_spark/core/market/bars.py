"""Bars: one row for each symbol and interval start; what they must satisfy is in `faults`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.errors import BadParameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

FIELDS = ("open", "high", "low", "close", "volume")
"""The numeric columns of a bar, in their canonical order."""

COLUMNS = (*FIELDS, "ts")
"""What an indicator can read of a bar; `ts`, its start, is UTC microseconds as float64, exactly."""

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
_UNITS_US = {
    "s": SECOND_US,
    "m": 60 * SECOND_US,
    "h": 3600 * SECOND_US,
    "d": DAY_US,
    "w": 7 * DAY_US,
}

SYMBOL = re.compile(r"^[@A-Z0-9][A-Z0-9._\-/]{0,31}$")
"""Stock `AAPL`, crypto `@BTCUSD`, option in OCC form without its spaces."""

PADDED_OPTION = r"^([A-Z][A-Z0-9./]{0,5}) +(\d{6}[CP]\d{8})$"
"""An option in the form of 21 characters, whose root is filled up with spaces."""


def interval_us(interval: str) -> int:
    """Return the microseconds of an interval such as `1m`, `15m`, `1h`, `1d` or `1w`.

    Raises BadParameter where the text is not a positive number and one of s, m, h, d, w.
    """
    match = re.fullmatch(r"([1-9]\d{0,3})([smhdw])", interval)
    if match is None:
        raise BadParameter(f"interval {interval!r} is not understood; write 1m, 15m, 1h, 1d or 1w")
    return int(match[1]) * _UNITS_US[match[2]]


def grid_us(length: int) -> int:
    """Return the microseconds of which the times of bars of a length are multiples.

    Bars of whole days start at any midnight UTC: those of a week on the weekday that their source
    has, and on another after a holiday, those of a month with it. All others lie on multiples of
    their own length.
    """
    return DAY_US if length % DAY_US == 0 else length


def symbol_name(text: str) -> str:
    """Return a symbol as the stores keep it: in capitals, an option without its spaces.

    Only ASCII has capitals here: other letters would become others' names.
    """
    name = text.strip()
    return re.sub(PADDED_OPTION, r"\1\2", name.upper()) if name.isascii() else name


def symbol_names(symbols: Iterable[str]) -> tuple[str, ...]:
    """Return symbols as the stores keep them, in order, each once."""
    return tuple(sorted({symbol_name(symbol) for symbol in symbols}))


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """N valid bars as columns.

    `symbols` is the sorted universe; `code` (int32[N]) points into it; `ts` (int64[N]) is the start
    of the bar in UTC microseconds; the five FIELDS are float64[N]. No (symbol, ts) occurs twice.
    """

    interval: str
    symbols: tuple[str, ...]
    code: NDArray[np.int32]
    ts: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Bars:
        """Return the rows that a NumPy index, mask or slice selects."""
        columns = (getattr(self, name)[index] for name in ("code", "ts", *FIELDS))
        return Bars(self.interval, self.symbols, *columns)

    def sorted(self) -> Bars:
        """Return the bars ordered by (ts, symbol); itself where they already are."""
        same = self.ts[1:] == self.ts[:-1]
        if np.all((self.ts[1:] > self.ts[:-1]) | (same & (self.code[1:] > self.code[:-1]))):
            return self
        return self.take(np.lexsort((self.code, self.ts)))

    def digest(self) -> str:
        """Return the ContentDigest of the bars, the same whatever the order of the rows."""
        bars = self.sorted()
        digest = ContentDigest(bars.interval)
        digest.update(bars.symbols, bars.code, bars.ts, {n: getattr(bars, n) for n in FIELDS})
        return digest.hexdigest()


def settle(bars: Bars) -> tuple[Bars, int, int]:
    """Return arrived bars ordered by (ts, symbol) with one row a key, duplicates, and revisions.

    Of rows with one key, one equal to the row before it is a duplicate, another a revision.
    """
    same = bars.ts[1:] == bars.ts[:-1]
    if np.all((bars.ts[1:] > bars.ts[:-1]) | (same & (bars.code[1:] > bars.code[:-1]))):
        return bars, 0, 0
    bars = bars.take(np.lexsort((bars.code, bars.ts)))  # stable: a key's rows stay as they came
    key = (bars.ts[1:] == bars.ts[:-1]) & (bars.code[1:] == bars.code[:-1])
    equal = key.copy()
    for name in FIELDS:
        column = getattr(bars, name)
        equal &= column[1:] == column[:-1]
    keep = np.concatenate((~key, [True]))
    duplicate = int(equal.sum())
    return bars.take(keep), duplicate, int(key.sum()) - duplicate


def concat(parts: list[Bars]) -> Bars:
    """Return the rows of all parts, in order, over the union of their symbols."""
    symbols = tuple(sorted({symbol for part in parts for symbol in part.symbols}))
    place = {symbol: i for i, symbol in enumerate(symbols)}
    codes = []
    for part in parts:
        lookup = np.array([place[symbol] for symbol in part.symbols], np.int32)
        codes.append(lookup[part.code] if len(part) else part.code)
    columns = (np.concatenate([getattr(p, name) for p in parts]) for name in ("ts", *FIELDS))
    return Bars(parts[0].interval, symbols, np.concatenate(codes), *columns)


def compact(bars: Bars) -> Bars:
    """Return the bars over a universe without the symbols that have none."""
    used = np.unique(bars.code)
    lookup = np.zeros(len(bars.symbols), np.int32)
    lookup[used] = np.arange(len(used), dtype=np.int32)
    names = tuple(bars.symbols[i] for i in used)
    columns = (getattr(bars, name) for name in ("ts", *FIELDS))
    return Bars(bars.interval, names, lookup[bars.code], *columns)


class ContentDigest:
    """A running SHA-256 over bars that arrive in pieces, ascending by (ts, symbol).

    Each column has a hash of its own, so the pieces may be cut anywhere. Symbols are numbered in
    the order of their first bar: that needs no universe known in advance, and a symbol without
    bars leaves no trace.
    """

    def __init__(self, interval: str) -> None:
        self._interval = interval
        self._number: dict[str, int] = {}
        self._columns = {name: hashlib.sha256() for name in ("code", "ts", *FIELDS)}

    def update(
        self,
        symbols: Sequence[str],
        code: NDArray[np.int32],
        ts: NDArray[np.int64],
        fields: Mapping[str, NDArray[np.float64]],
    ) -> None:
        """Add the next bars; `code` points into `symbols`, `ts` is in UTC microseconds."""
        first = np.full(len(symbols), len(code))
        first[code[::-1]] = np.arange(len(code))[::-1]
        for at in np.argsort(first, kind="stable"):
            if first[at] < len(code):
                self._number.setdefault(symbols[at], len(self._number))
        numbers = np.array([self._number.get(symbol, -1) for symbol in symbols], np.int32)
        columns = {"code": numbers[code] if len(code) else code, "ts": ts, **fields}
        for name, hashed in self._columns.items():
            hashed.update(np.ascontiguousarray(columns[name]).data)

    def hexdigest(self) -> str:
        """Return the digest of all bars so far, in hexadecimal."""
        parts = [self._interval, *self._number, *(c.hexdigest() for c in self._columns.values())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
