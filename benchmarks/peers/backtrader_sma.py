"""The work in backtrader, run by the Python of backtrader's own environment."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import backtrader as bt
import pandas as pd


class SmaCross(bt.Strategy):
    """Buys a share of the equity when the fast average is above the slow one, sells below it."""

    params = (("fast", 10), ("slow", 30), ("share", 0.01))

    def __init__(self) -> None:
        self.averages = [
            (
                bt.indicators.SMA(d.close, period=self.p.fast),
                bt.indicators.SMA(d.close, period=self.p.slow),
            )
            for d in self.datas
        ]
        self.fills = 0

    def notify_order(self, order: bt.Order) -> None:
        """Count a fill."""
        self.fills += order.status == order.Completed

    def next(self) -> None:
        """Order for each symbol what its averages ask for."""
        budget = self.broker.getvalue() * self.p.share
        for data, (fast, slow) in zip(self.datas, self.averages, strict=True):
            held = self.getposition(data).size
            if fast[0] > slow[0] and not held:
                self.buy(data, size=math.floor(budget / data.close[0]))
            elif fast[0] < slow[0] and held:
                self.close(data)


def main() -> None:
    """Answer the request on stdin."""
    asked = json.load(sys.stdin)
    rules = asked["rules"]
    bars = pd.read_parquet(asked["bars"])
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcash(rules["cash"])
    cerebro.broker.setcommission(commission=rules["commission"])
    for symbol, frame in bars.groupby("symbol"):
        cerebro.adddata(bt.feeds.PandasData(dataname=frame.set_index("ts")), name=symbol)
    ((fast, slow),) = rules["pairs"]
    cerebro.addstrategy(SmaCross, fast=fast, slow=slow, share=rules["share"])
    started = time.perf_counter()
    (strategy,) = cerebro.run()
    said = {
        "seconds": [time.perf_counter() - started],
        "fills": strategy.fills,
        "final_equity": cerebro.broker.getvalue(),
        "version": bt.__version__,
    }
    Path(asked["answer"]).write_text(json.dumps(said))


if __name__ == "__main__":
    main()
