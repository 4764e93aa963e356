"""The work in raptorbt, run by the Python of raptorbt's own environment.

Its portfolio runner shares the cash of all symbols and gives each an equal share of the equity. Its
timing `next_bar_open` is not used: in 0.13.4 the portfolio runner then fills an entry at the open
of the very bar that it is decided at, and takes only every second signal. The signals come one bar
late instead, and fill at the open of the bar they come at, which is the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import raptorbt
from turns import Turns, serve

FIELDS = ("open", "high", "low", "close", "volume")
Bars = Mapping[str, tuple[Any, ...]]
Averages = Mapping[tuple[str, int], Any]


def read(path: str) -> Bars:
    """Return each symbol's times and fields."""
    frame = pd.read_parquet(path)
    return {
        str(symbol): (
            one["ts"].astype("datetime64[ns, UTC]").astype("int64").to_numpy(),
            *(np.ascontiguousarray(one[name].to_numpy()) for name in FIELDS),
        )
        for symbol, one in frame.groupby("symbol", sort=True)
    }


def averages(bars: Bars, pairs: list[list[int]]) -> Averages:
    """Return the averages of all windows of all symbols."""
    windows = {window for pair in pairs for window in pair}
    return {
        (symbol, window): raptorbt.sma(columns[4], window)
        for symbol, columns in bars.items()
        for window in windows
    }


def signals(means: Averages, symbol: str, pair: list[int]) -> tuple[Any, Any]:
    """Return a symbol's entries and exits, each one bar after it is decided."""
    fast, slow = (means[symbol, window] for window in pair)
    return _late(fast > slow), _late(fast < slow)


def _late(decided: Any) -> Any:
    late = np.zeros_like(decided)
    late[1:] = decided[:-1]
    return late


def shared(bars: Bars, means: Averages, pair: list[int]) -> list[tuple[Any, ...]]:
    """Return the instruments of one portfolio run."""
    return [
        (*columns, *signals(means, symbol, pair), 1, 1.0, symbol)
        for symbol, columns in bars.items()
    ]


def prepare(asked: dict[str, Any]) -> Turns:
    """Read the bars and return the turns."""
    rules, pairs = asked["rules"], asked["rules"]["pairs"]
    bars = read(asked["bars"])
    lots = {symbol: raptorbt.InstrumentConfig(lot_size=1.0) for symbol in bars}
    config = raptorbt.BacktestConfig(
        initial_capital=rules["cash"],
        fees=rules["commission"],
        fill_timing="same_bar_open_lookahead",
    )
    answer: dict[str, Any] = {"version": version("raptorbt")}

    def run(turns: Turns) -> None:
        started, simulating, fills, last = time.perf_counter(), 0.0, 0, 0.0
        means = averages(bars, pairs)
        for pair in pairs:
            instruments = shared(bars, means, pair)
            began = time.perf_counter()
            result = raptorbt.run_portfolio_backtest(instruments, config, "equal_weight", lots)
            simulating += time.perf_counter() - began
            last += float(result.result.equity_curve()[-1])
            # What is open at the end is told as closed then, which is no fill.
            fills += 2 * result.metrics.total_closed_trades + result.metrics.total_open_trades
        turns.take("simulation", simulating)
        turns.take("whole", time.perf_counter() - started)
        answer.update(fills=fills, final_equity=last)

        if len(pairs) > 1:
            turns.timed("apart", apart)

    apart = alone(bars, rules)
    return Turns(run, lambda: answer)


def alone(bars: Bars, rules: dict[str, Any]) -> Callable[[], None]:
    """Return the sweep in raptorbt's fastest form: on all cores, each symbol with its own cash."""
    cash = rules["cash"] * rules["share"]
    config = raptorbt.BacktestConfig(
        initial_capital=cash, fees=rules["commission"], fill_timing="next_bar_open"
    )
    lots = raptorbt.InstrumentConfig(lot_size=1.0)

    def run() -> None:
        means = averages(bars, rules["pairs"])
        for symbol, columns in bars.items():
            items = [
                raptorbt.BatchSingleItem(
                    str(pair),
                    means[symbol, pair[0]] > means[symbol, pair[1]],
                    means[symbol, pair[0]] < means[symbol, pair[1]],
                    symbol=symbol,
                    instrument_config=lots,
                )
                for pair in rules["pairs"]
            ]
            raptorbt.batch_single_backtest(*columns, items, config)

    return run


if __name__ == "__main__":
    sys.exit(serve(prepare))
