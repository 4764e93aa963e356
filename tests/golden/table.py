"""A strategy that does what a table says, and its ledger as a table to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streambt_spark import Broker, Cerebro
from streambt_spark.core.ledger.audit import audit
from streambt_spark.engines import local
from streambt_spark.engines.result import Result

DAY = 86_400_000_000
FIRST = 20_000
"""Day 1 of every table, in days since 1970."""

Row = tuple[float, float, float, float] | None


def planned(ts: Any, first: int, wishes: tuple[float, ...]) -> Any:
    """Return the wish of each bar's day; nothing outside the table."""
    day = (ts // DAY).astype(int) - first
    return np.where((day >= 0) & (day < len(wishes)), np.take(wishes, day, mode="clip"), 0.0)


def run(
    bars: Mapping[str, Sequence[Row]],
    wishes: Sequence[float],
    allocation: Any,
    **broker: Any,
) -> Result:
    """Run a table: for each symbol a row (open, high, low, close) a day, or None for no bar."""
    rows = [
        {
            "symbol": symbol,
            "ts": np.datetime64((FIRST + day) * DAY, "us").item(),
            **dict(zip(("open", "high", "low", "close"), row, strict=True)),
            "volume": 1000,
        }
        for symbol, table in bars.items()
        for day, row in enumerate(table)
        if row is not None
    ]
    cerebro = Cerebro(Broker(**broker))
    data = cerebro.add_data(rows, tz="UTC")
    pulse = cerebro.add_indicator(
        planned, data["ts"], first=FIRST, wishes=tuple(map(float, wishes))
    )
    cerebro.add_strat(pulse, allocation)
    return cerebro.run()


def lines(result: Result) -> list[str]:
    """Return the ledger as texts: day, kind, and the columns of the kind; money in cents."""
    told = []
    for row in result.events.to_pylist():
        day = round(row["ts"].timestamp()) // 86_400 - FIRST + 1
        text = f"{day} {row['kind']:<6}"
        if row["kind"] in ("order", "fill", "reject"):
            price = "-" if row["price"] is None else f"{row['price']:.2f}"
            text += (
                f" #{row['order_id']} {row['side']} {row['quantity']:g} {row['symbol']} @ {price}"
            )
        if row["kind"] == "fill":
            text += f" fee {row['commission']} amount {row['amount']:+}"
            text += f" cash {row['cash']} position {row['position']:g}"
        if row["kind"] == "equity":
            text += f" {row['equity']} = {row['cash']} cash, exposure {row['exposure']}"
        if row["kind"] == "cash":
            text += f" {row['amount']:+} = {row['cash']}"
        told.append(text + (f" {row['reason']}" if row["reason"] else ""))
    return told


def check(result: Result, expected: str) -> None:
    """Compare a ledger with a literal table, in which '|' begins a comment, and audit it."""
    wanted = [line.split("|")[0].strip() for line in expected.splitlines()]
    assert lines(result) == [line for line in wanted if line]
    assert result.bars is not None
    assert audit(result.plan, local.run(result.plan, result.bars), result.bars) == []
