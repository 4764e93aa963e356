"""The work in vectorbt, run by the Python of vectorbt's own environment."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt


def run(opens: pd.DataFrame, closes: pd.DataFrame, rules: dict[str, Any]) -> vbt.Portfolio:
    """Return the portfolio; orders are decided at a close and sent at the next bar's open."""
    fast, slow = (
        vbt.MA.run(closes, rules[name], hide_params=["window"]).ma.to_numpy()
        for name in ("fast", "slow")
    )
    wish = np.sign(fast - slow)
    # The state holds where the averages are equal; an order is due where it changes.
    rows = np.where((wish == 0) | np.isnan(wish), 0, np.arange(len(wish))[:, None])
    state = np.take_along_axis(wish, np.maximum.accumulate(rows, axis=0), axis=0) > 0
    turns = np.zeros_like(state)
    turns[1:] = state[1:] != state[:-1]
    size = np.full(wish.shape, np.nan)
    size[1:] = np.where(turns, np.where(state, rules["share"], 0.0), np.nan)[:-1]
    return vbt.Portfolio.from_orders(
        closes,
        size=size,
        size_type="targetpercent",
        price=opens,
        fees=rules["commission"],
        init_cash=rules["cash"],
        size_granularity=1.0,
        cash_sharing=True,
        group_by=True,
        call_seq="auto",
        freq="1min",
    )


def main() -> None:
    """Answer the request on stdin."""
    asked = json.load(sys.stdin)
    vbt.settings["engine"] = asked["engine"]
    bars = pd.read_parquet(asked["bars"])
    opens, closes = (
        bars.pivot(index="ts", columns="symbol", values=name) for name in ("open", "close")
    )
    run(opens[:200], closes[:200], asked["rules"])
    simulated, valued = [], []
    for _ in range(asked["repeats"]):
        started = time.perf_counter()
        portfolio = run(opens, closes, asked["rules"])
        fills = len(portfolio.orders.values)
        simulated.append(time.perf_counter() - started)
        equity = portfolio.value()
        valued.append(time.perf_counter() - started)
    said = {
        "seconds": simulated,
        "with_equity": valued,
        "fills": fills,
        "final_equity": float(equity.iloc[-1]),
        "version": vbt.__version__,
    }
    Path(asked["answer"]).write_text(json.dumps(said))


if __name__ == "__main__":
    main()
