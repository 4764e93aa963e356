"""The work in vectorbt, run by the Python of vectorbt's own environment.

The form is the fastest that was found for the same orders: the times are without a zone (vectorbt
converts those with one again and again), and a slice's orders run in the order of the columns.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt
from numba import njit
from turns import Turns, serve

WARM_UP = 400
"""Bars that are run before the clock starts, for what compiles."""


def sizes(closes: pd.DataFrame, rules: dict[str, Any]) -> Any:
    """Return the target shares by bar, for each pair of averages and symbol; NaN is no order."""
    symbols, pairs = closes.shape[1], rules["pairs"]
    averages = {
        window: vbt.MA.run(closes, window, hide_params=["window"]).ma.to_numpy()
        for window in {window for pair in pairs for window in pair}
    }
    size = np.full((len(closes), symbols * len(pairs)), np.nan)
    for number, (fast, slow) in enumerate(pairs):
        columns = slice(number * symbols, (number + 1) * symbols)
        decide(averages[fast], averages[slow], rules["share"], size[:, columns])
    return size


@njit
def decide(fast: Any, slow: Any, share: float, size: Any) -> None:
    """Write an order into the bar after the one where the faster average changes its side.

    Where the averages are equal, the side stays as it was.
    """
    for symbol in range(fast.shape[1]):
        held = False
        for bar in range(len(fast) - 1):
            if fast[bar, symbol] > slow[bar, symbol] and not held:
                size[bar + 1, symbol] = share
                held = True
            elif fast[bar, symbol] < slow[bar, symbol] and held:
                size[bar + 1, symbol] = 0.0
                held = False


def simulate(
    opens: pd.DataFrame, closes: pd.DataFrame, size: Any, rules: dict[str, Any]
) -> vbt.Portfolio:
    """Return the portfolio: one account for all symbols of a pair."""
    pairs = len(rules["pairs"])
    prices = opens
    group: Any = True
    if pairs > 1:
        columns = pd.MultiIndex.from_product([range(pairs), closes.columns], names=["pair", None])
        closes = pd.DataFrame(np.tile(closes.to_numpy(), pairs), closes.index, columns)
        prices, group = np.tile(opens.to_numpy(), pairs), "pair"
    return vbt.Portfolio.from_orders(
        closes,
        size=size,
        size_type="targetpercent",
        price=prices,
        fees=rules["commission"],
        init_cash=rules["cash"],
        size_granularity=1.0,
        cash_sharing=True,
        group_by=group,
        freq="1min",
    )


def prepare(asked: dict[str, Any]) -> Turns:
    """Read the bars, compile, and return the turns."""
    rules = asked["rules"]
    vbt.settings["engine"] = asked["engine"]
    bars = pd.read_parquet(asked["bars"], columns=["symbol", "ts", "open", "close"])
    bars["ts"] = bars["ts"].dt.tz_localize(None)
    opens, closes = (
        bars.pivot(index="ts", columns="symbol", values=name) for name in ("open", "close")
    )
    del bars
    answer: dict[str, Any] = {"version": vbt.__version__, "engine": asked["engine"]}

    def run(turns: Turns, opens: pd.DataFrame = opens, closes: pd.DataFrame = closes) -> None:
        started = time.perf_counter()
        size = sizes(closes, rules)
        decided = time.perf_counter()
        portfolio = simulate(opens, closes, size, rules)
        fills = len(portfolio.orders.values)
        simulated = time.perf_counter()
        equity = portfolio.value()
        valued = time.perf_counter()
        turns.take("simulation", simulated - decided)
        turns.take("orders", simulated - started)
        turns.take("whole", valued - started)
        answer.update(fills=fills, final_equity=float(np.sum(equity.iloc[-1])))

    run(Turns(run, dict), opens[:WARM_UP], closes[:WARM_UP])
    return Turns(run, lambda: answer)


if __name__ == "__main__":
    sys.exit(serve(prepare))
