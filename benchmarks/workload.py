"""The work that every contender does: SMA 10/30 cross on made-up minute bars, one shared account.

A symbol is bought with a fixed share of the equity when the fast average is above the slow one, and
sold when it is below; orders fill at the next bar's open for 0.1 %. Quantities are whole units, and
the start cash is large, so that rounding to whole units changes little. A sweep does the same for
many pairs of averages, each with an account of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
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
    from streambt_spark.engines.result import Result

INTERVAL = "1m"
SEED = 7


@dataclass(frozen=True, slots=True)
class Rules:
    """The windows of the averages, fast and slow, and the account; what a peer is told of them."""

    pairs: tuple[tuple[int, int], ...] = ((10, 30),)
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
SWEEP = Rules(
    pairs=tuple((fast, slow) for fast in range(5, 55, 5) for slow in range(60, 160, 10)), share=0.1
)
WORKS: Mapping[str, Rules] = {"cross": RULES, "sweep": SWEEP}


def cross(fast: NDArray[np.float64], slow: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 where the fast average is above the slow one, -1 where it is below."""
    return np.sign(fast - slow)


def cerebro(bars: Bars | Snapshot, rules: Rules = RULES, record: str = "full") -> Cerebro:
    """Return the strategies on these bars; `record` is what each keeps of its run."""
    built = Cerebro(Broker(cash=rules.cash, commission=f"{rules.commission:%}"))
    data = built.add_data(bars)
    averages = {
        window: built.add_indicator("SMA", data["close"], timeperiod=window)
        for window in {window for pair in rules.pairs for window in pair}
    }
    for fast, slow in rules.pairs:
        pulse = built.add_indicator(cross, averages[fast], averages[slow])
        options: dict[str, Any] = {}
        if record != "full":
            options = {"record": record, "label": {"fast": fast, "slow": slow}}
        built.add_strat(pulse, PercentOfEquity(rules.share), **options)
    return built


def complete(result: Result, record: str = "full") -> Result:
    """Return a result that holds what its strategies recorded: it would read it when asked."""
    _ = result.metrics if record == "metrics" else result.ledger
    return result


def records_metrics() -> bool:
    """Return whether a strategy can keep its metrics alone."""
    return "record" in inspect.signature(Cerebro.add_strat).parameters


def snapshot(size: Size, cache: Path) -> Snapshot:
    """Return the bars as a snapshot in the cache, made the first time they are asked for."""
    folder = cache / f"bars-{size.symbols}x{size.bars}-{SEED}"
    if (folder / "_delta_log").is_dir():
        return open_snapshot(folder)
    bars = generate(size.symbols, size.bars, INTERVAL, SEED)
    return write_snapshot(bars_to_batches(bars), folder, interval=INTERVAL)
