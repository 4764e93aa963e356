"""The views of a run as pandas frames: money in currency units, times in UTC, by lane and event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from streambt_spark.core.amounts import minor_units
from streambt_spark.core.ledger.metrics import FIGURES, TIMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streambt_spark.core.ledger.metrics import Metrics
    from streambt_spark.core.ledger.trades import Trades
    from streambt_spark.core.plan import Lane
    from streambt_spark.engines.ledger import LaneRows, Ledger

VIEWS: Mapping[str, tuple[str, ...]] = {
    "fills": (
        "lane", "ts", "symbol", "side", "quantity", "price", "commission", "order_id", "amount",
        "cash", "position",
    ),
    "orders": (
        "lane", "ts", "symbol", "side", "quantity", "order_id", "status", "reason", "filled_ts",
        "filled_quantity", "fill_price", "commission",
    ),
    "equity": ("lane", "ts", "cash", "equity", "exposure", "drawdown"),
    "positions": ("lane", "ts", "symbol", "quantity"),
    "errors": ("lane", "ts", "reason", "text"),
}  # fmt: skip
"""The columns of each view."""

_MONEY = ("commission", "amount", "cash", "equity", "exposure")
_SIDES = np.array(["short", "", "long"], dtype=object)
_COUNTS = ("periods", "max_drawdown_periods", "fills", "trades")
_KEYS = ["lane", "order_id"]


def minor_of(lane: Lane) -> int:
    """Return how many minor units the lane's currency unit has."""
    return int(10**lane.broker.minor_digits)


def fills_frame(ledger: Ledger, lanes: Sequence[Lane]) -> pd.DataFrame:
    """Return one row for each fill."""
    return _read(ledger, lanes, ["fill"], VIEWS["fills"][1:])


def positions_frame(ledger: Ledger, lanes: Sequence[Lane]) -> pd.DataFrame:
    """Return the quantity held in a symbol after each fill."""
    frame = _read(ledger, lanes, ["fill"], ["ts", "symbol", "position"])
    return frame.rename(columns={"position": "quantity"})


def errors_frame(ledger: Ledger, lanes: Sequence[Lane]) -> pd.DataFrame:
    """Return one row for each strategy that was disabled, and why."""
    frame = _read(ledger, lanes, ["disabled"], VIEWS["errors"][1:])
    return frame.reindex(columns=VIEWS["errors"])


def equity_frame(ledger: Ledger, lanes: Sequence[Lane]) -> pd.DataFrame:
    """Return one row for each slice that was recorded."""
    rows = ledger.of_lanes(_names(lanes), ["equity"], ["ts", "cash", "equity", "exposure"])
    frame = _frame(rows, lanes)
    equity = frame["equity"].to_numpy()
    peak = equity.copy()
    for k, lane in enumerate(lanes):
        own = peak[rows.starts[k] : rows.starts[k + 1]]
        np.maximum.accumulate(np.maximum(own, lane.broker.cash, out=own), out=own)
    frame["drawdown"] = equity / peak - 1.0
    return frame


def orders_frame(ledger: Ledger, lanes: Sequence[Lane]) -> pd.DataFrame:
    """Return one row for each order, and what became of it."""
    shown = ["ts", "symbol", "side", "quantity", "order_id"]
    told = ["kind", *shown, "reason", "price", "commission"]
    events = _read(ledger, lanes, ["order", "reject", "fill"], told)
    placed, refused, fills = (events[events["kind"] == k] for k in ("order", "reject", "fill"))
    known = pd.MultiIndex.from_frame(placed[_KEYS])
    unplaced = refused[~pd.MultiIndex.from_frame(refused[_KEYS]).isin(known)]
    reasons = refused.drop_duplicates(_KEYS)[[*_KEYS, "reason"]]
    orders = pd.concat([placed, unplaced])[["lane", *shown]]
    orders = orders.merge(_filled(fills), on=_KEYS, how="left").merge(reasons, on=_KEYS, how="left")
    filled, rejected = orders["filled_ts"].notna(), orders["reason"].notna()
    orders["status"] = np.select(
        [filled & rejected, filled, rejected], ["partially_filled", "filled", "rejected"], "open"
    )
    return orders.sort_values(_KEYS, ignore_index=True)[list(VIEWS["orders"])]


def _filled(fills: pd.DataFrame) -> pd.DataFrame:
    """Return for each order with fills its last one's time, its quantity, mean price and fees."""
    valued = fills.assign(value=fills["price"] * fills["quantity"])
    sums = valued.groupby(_KEYS, sort=False, as_index=False).agg(
        filled_ts=("ts", "last"),
        filled_quantity=("quantity", "sum"),
        fill_price=("price", "first"),
        commission=("commission", "sum"),
        value=("value", "sum"),
        parts=("value", "size"),
    )
    several = sums["parts"] > 1  # of a single fill the price is exact
    sums.loc[several, "fill_price"] = (sums["value"] / sums["filled_quantity"])[several]
    return sums.drop(columns=["value", "parts"])


def trades_frame(trades: Trades, symbols: Sequence[str], minor_units: int = 100) -> pd.DataFrame:
    """Return closed round trips as a frame; `symbols` is the universe."""
    return pd.DataFrame(
        {
            "symbol": np.array(symbols, dtype=object)[trades.symbol],
            "side": _SIDES[trades.side + 1],
            "quantity": trades.quantity,
            "entry_ts": _utc(trades.entry_ts),
            "entry_price": trades.entry_price,
            "exit_ts": _utc(trades.exit_ts),
            "exit_price": trades.exit_price,
            "pnl": trades.pnl / minor_units,
            "commission": trades.commission / minor_units,
            "return": trades.returns,
            "held": pd.to_timedelta(trades.held, unit="us"),
        }
    )


def metrics_frame(metrics: Sequence[Metrics | None], lanes: Sequence[Lane]) -> pd.DataFrame:
    """Return one row for each lane by its name, one column of numbers or times for each figure.

    A lane without metrics has nulls.
    """
    rows = [
        {} if found is None else found.as_dict(minor_of(lane))
        for found, lane in zip(metrics, lanes, strict=True)
    ]
    frame = pd.DataFrame(rows, pd.Index(_names(lanes), name="lane"), columns=FIGURES)
    for name in FIGURES:
        if name in TIMES:
            frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[us, UTC]")
        else:
            frame[name] = frame[name].astype("Int64" if name in _COUNTS else float)
    return frame


def with_fills(bars: pd.DataFrame, fills: pd.DataFrame) -> pd.DataFrame:
    """Return bars by (symbol, ts) with what one lane traded in each, and its position after it."""
    signed = fills["quantity"].where(fills["side"] == "buy", -fills["quantity"])
    by_bar = fills.assign(traded=signed).groupby(["symbol", "ts"])
    traded = by_bar["traded"].sum().reindex(bars.index, fill_value=0.0)
    position = by_bar["position"].last().reindex(bars.index).groupby("symbol").ffill().fillna(0.0)
    return bars.assign(traded=traded, position=position)


def cash_of(lane: Lane) -> int:
    """Return a lane's start cash in minor units."""
    return minor_units(lane.broker.cash, lane.broker.minor_digits)


def _read(
    ledger: Ledger, lanes: Sequence[Lane], kinds: Sequence[str], columns: Sequence[str]
) -> pd.DataFrame:
    return _frame(ledger.of_lanes(_names(lanes), kinds, columns), lanes)


def _frame(rows: LaneRows, lanes: Sequence[Lane]) -> pd.DataFrame:
    """Return rows with their lane's name, money in its currency's units."""
    lane = rows.lane
    units = np.array([float(minor_of(each)) for each in lanes])
    columns: dict[str, object] = {"lane": np.array(rows.lanes, dtype=object)[lane]}
    for name in rows.table.column_names:
        column = rows.table[name].to_pandas()
        if name in _MONEY:
            column = column.astype(float) / units[lane]
        columns[name] = column.astype("Int64") if name == "order_id" else column
    return pd.DataFrame(columns, copy=False)


def _names(lanes: Sequence[Lane]) -> list[str]:
    return [lane.name for lane in lanes]


def _utc(ts: NDArray[np.int64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(ts.astype("datetime64[us]"), tz="UTC")
