"""Made-up bars that look like a market and are the same on every machine."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.market.bars import FIELDS, SYMBOL, Bars, interval_us
from streambt_spark.errors import BadParameter, NoData

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPOCH = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
TICK = 100
"""Prices are whole hundredths."""

_YEAR_US = 365 * 86_400_000_000
_VOLATILITY = 0.25
_DRIFT = 0.05


def generate(
    symbols: Sequence[str] | int,
    bars: int,
    interval: str = "1d",
    seed: int = 7,
    *,
    gaps: float = 0.0,
    start: dt.datetime = EPOCH,
) -> Bars:
    """Return `bars` intervals of geometric Brownian motion for each symbol, from `start` on.

    A number of symbols stands for S000, S001, … A bar is left out with probability `gaps`; its
    price path goes on. Volatility is 25 % and drift 5 % a year, prices are on a tick of 0.01. A
    symbol's bars depend on its name, the seed, the interval and the start alone: more bars or
    other symbols change none. Raises BadParameter for an argument out of range, NoData where the
    gaps leave nothing.
    """
    names = _names(symbols)
    step = interval_us(interval)
    if bars < 1 or not 0 <= gaps < 1 or seed < 0:
        raise BadParameter(
            f"cannot generate {bars} bars with gaps {gaps} and seed {seed}; "
            "bars ≥ 1, 0 ≤ gaps < 1, seed ≥ 0"
        )
    first = int(start.timestamp()) * 1_000_000
    first -= first % step
    shape = (bars, len(names))
    columns = {name: np.empty(shape) for name in FIELDS}
    present = np.empty(shape, bool)
    for at, name in enumerate(names):
        series, present[:, at] = _series(name, bars, step, seed, gaps)
        for field in FIELDS:
            columns[field][:, at] = series[field]
    mask = present.ravel()
    if not mask.any():
        raise NoData(f"gaps of {gaps} leave none of {bars} bars; use fewer gaps or more bars")
    ts = np.repeat(first + step * np.arange(bars), len(names))[mask]
    code = np.tile(np.arange(len(names), dtype=np.int32), bars)[mask]
    return Bars(interval, names, code, ts, *(columns[field].ravel()[mask] for field in FIELDS))


def _names(symbols: Sequence[str] | int) -> tuple[str, ...]:
    if isinstance(symbols, int):
        symbols = [f"S{i:03d}" for i in range(symbols)]
    names = tuple(sorted(set(symbols)))
    bad = next((name for name in names if not SYMBOL.match(name)), None)
    if bad is not None or not names:
        raise BadParameter(f"cannot generate bars of symbol {bad!r}; write symbols such as AAPL")
    return names


def _series(
    symbol: str, bars: int, step: int, seed: int, gaps: float
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    key = int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:16], "big")
    # One stream a quantity: so drawing more of each leaves the first ones as they were.
    streams = [np.random.Generator(np.random.PCG64(s)) for s in _seeds(seed, key)]
    shape, moves, jumps, above, below, trades, holes = streams
    years = step / _YEAR_US
    sigma = _VOLATILITY * np.sqrt(years)
    drift = (_DRIFT - _VOLATILITY**2 / 2) * years
    base = float(np.exp(shape.uniform(np.log(20), np.log(400))))
    path = np.cumsum(drift + sigma * moves.standard_normal(bars))
    close = _ticks(base * np.exp(path))
    before = np.concatenate(([base], close[:-1] / TICK))
    open_ = _ticks(before * (1 + 0.2 * sigma * jumps.standard_normal(bars)))
    wick = 0.5 * sigma * close
    high = np.maximum(open_, close) + np.rint(wick * np.abs(above.standard_normal(bars)))
    low = np.minimum(open_, close) - np.rint(wick * np.abs(below.standard_normal(bars)))
    volume = np.rint(10_000 * np.exp(0.5 * trades.standard_normal(bars)))
    ticks = (open_, high, np.maximum(low, 1), close)
    fields = dict(zip(FIELDS, [*(price / TICK for price in ticks), volume], strict=True))
    return fields, holes.random(bars) >= gaps


def _seeds(seed: int, key: int) -> list[np.random.SeedSequence]:
    return np.random.SeedSequence([seed, key]).spawn(7)


def _ticks(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(np.rint(prices * TICK), 1.0)
