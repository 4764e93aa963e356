"""The work that every contender does: SMA 10/30 cross on made-up minute bars, one shared account.

A symbol is bought with a fixed share of the equity when the fast average is above the slow one, and
sold when it is below; orders fill at the next bar's open for 0.1 %. Quantities are whole units, and
the start cash is large, so that rounding to whole units changes little.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark import Broker, Cerebro
from streambt_spark.allocation import PercentOfEquity
from streambt_spark.stores.generator import generate
from streambt_spark.stores.lake import Snapshot, bars_to_batches, open_snapshot, write_snapshot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.market.bars import Bars

INTERVAL = "1m"
SEED = 7


@dataclass(frozen=True, slots=True)
class Rules:
    """The strategy and the account; what a peer is told of them."""

    fast: int = 10
    slow: int = 30
    commission: float = 0.001
    cash: float = 1e9
    share: float = 0.01


@dataclass(frozen=True, slots=True)
class Size:
    """How many symbols, and bars of each."""

    symbols: int
    bars: int

    @property
    def rows(self) -> int:
        """All bars."""
        return self.symbols * self.bars

    def __str__(self) -> str:
        return f"{self.symbols} symbols of {self.bars:,} bars"


RULES = Rules()


def cross(fast: NDArray[np.float64], slow: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 where the fast average is above the slow one, -1 where it is below."""
    return np.sign(fast - slow)


def cerebro(bars: Bars | Snapshot) -> Cerebro:
    """Return the strategy on these bars."""
    built = Cerebro(Broker(cash=RULES.cash, commission=f"{RULES.commission:%}"))
    data = built.add_data(bars)
    fast, slow = (
        built.add_indicator("SMA", data["close"], timeperiod=n) for n in (RULES.fast, RULES.slow)
    )
    built.add_strat(built.add_indicator(cross, fast, slow), PercentOfEquity(RULES.share))
    return built


def rules() -> dict[str, Any]:
    """Return the rules as a peer's program reads them."""
    return asdict(RULES)


def snapshot(size: Size, cache: Path) -> Snapshot:
    """Return the bars as a snapshot in the cache, made the first time they are asked for."""
    folder = cache / f"bars-{size.symbols}x{size.bars}-{SEED}"
    if (folder / "_delta_log").is_dir():
        return open_snapshot(folder)
    bars = generate(size.symbols, size.bars, INTERVAL, SEED)
    return write_snapshot(bars_to_batches(bars), folder, interval=INTERVAL)
