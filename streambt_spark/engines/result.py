"""What a run gives back: its ledger, and the views and figures made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from streambt_spark.calendars import Calendar
from streambt_spark.core.broker.money import minor_units
from streambt_spark.core.ledger.metrics import Curve, Metrics, compute
from streambt_spark.core.ledger.trades import Fills, Trades, match_fills
from streambt_spark.report.data import trades_frame
from streambt_spark.stores.intake import Counts
from streambt_spark.stores.ledger import account_events, ledger_digest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from streambt_spark.core.market.bars import Bars
    from streambt_spark.core.plan import Lane, Plan

FRAMES: Mapping[str, tuple[str, ...]] = {
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
}  # fmt: skip
"""The columns of each view; money in currency units, `ts` in UTC."""

_MONEY = ("commission", "amount", "cash", "equity", "exposure")
_SIDE_CODES = {"buy": 1, "sell": -1}


@dataclass(frozen=True, eq=False)
class Result:
    """A run's ledger (LEDGER_SCHEMA, any order of rows) with the plan that made it.

    The views are pandas frames over all lanes, ordered by (lane, ts, event); they are made when
    first asked for. `settings` tells how it was run: the engine, and where the ledger is. `bars`
    are those of a local run; `source` and `quarantine` tell of the rows that a file, frame or list
    had besides them.
    """

    plan: Plan
    ledger: pa.Table
    calendar: Calendar
    settings: Mapping[str, Any] = field(default_factory=dict)
    bars: Bars | None = None
    source: Counts = field(default_factory=Counts)
    quarantine: pa.Table | None = None

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the canonical ledger: equal for equal runs, whatever the engine."""
        return ledger_digest(self.ledger)

    @cached_property
    def events(self) -> pa.Table:
        """The events of the accounts, ordered by (lane, ts, seq)."""
        return account_events(self.ledger)

    @cached_property
    def counts(self) -> dict[str, int]:
        """What became of the rows: read == accepted + duplicate + late + rejected.

        `revised` of the accepted ones were replaced by a later row of the same symbol and time.
        """
        told = self.ledger.filter(pc.equal(self.ledger["kind"], "counts"))
        sums = told.group_by("reason").aggregate([("count", "sum")]).to_pylist()
        found = {row["reason"]: int(row["count_sum"]) for row in sums}
        run = Counts(**{each.name: found.get(each.name, 0) for each in fields(Counts)})
        # The run read the source's bars: what it accepted but for those that were replaced.
        passed_on = self.source.accepted - self.source.revised
        besides = replace(
            self.source, read=self.source.read - passed_on, accepted=self.source.revised
        )
        return asdict(run + besides)

    @cached_property
    def fills(self) -> pd.DataFrame:
        """One row for each fill; `amount` is what it changed the cash by, commission included."""
        return self._frame("fill")[list(FRAMES["fills"])]

    @cached_property
    def positions(self) -> pd.DataFrame:
        """The quantity held in a symbol after each fill."""
        frame = self._frame("fill")[["lane", "ts", "symbol", "position"]]
        return frame.rename(columns={"position": "quantity"})

    @cached_property
    def equity(self) -> pd.DataFrame:
        """One row for each slice; `drawdown` is the fraction below the highest equity so far."""
        frame = self._frame("equity")
        start = frame["lane"].map({lane.name: lane.broker.cash for lane in self.plan.lanes})
        peak = np.maximum(frame.groupby("lane")["equity"].cummax(), start.astype(float))
        frame["drawdown"] = frame["equity"] / peak - 1.0
        return frame[list(FRAMES["equity"])]

    @cached_property
    def orders(self) -> pd.DataFrame:
        """One row for each order: open, filled, partial or rejected, and what became of it.

        Where the cash does not cover an order at the open, it is rejected; one of AllIn fills for
        what the cash does cover, its `filled_quantity`. An order that turns a position over is
        partial where its exit filled and its entry was rejected.
        """
        keys = ["lane", "order_id"]
        placed = self._frame("order")
        rejects = self._frame("reject")
        refused = rejects[~_keys(rejects).isin(_keys(placed))]
        filled = self._frame("fill").groupby(keys, as_index=False)
        fills = filled.agg(
            filled_ts=("ts", "last"),
            filled_quantity=("quantity", "sum"),
            fill_price=("price", "last"),
            commission=("commission", "sum"),
        )
        both = pd.concat([placed, refused]) if len(refused) else placed
        merged = both.drop(columns=["reason", "commission"], errors="ignore")
        merged = merged.merge(fills, on=keys, how="left")
        merged = merged.merge(rejects[[*keys, "reason"]], on=keys, how="left")
        some, rest = merged["filled_ts"].notna(), merged["reason"].notna()
        merged["status"] = np.select(
            [some & rest, some, rest], ["partial", "filled", "rejected"], "open"
        )
        return merged.sort_values(keys, ignore_index=True)[list(FRAMES["orders"])]

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row for each lane, one column for each figure; null where a figure is undefined."""
        return pd.DataFrame.from_dict(
            {lane.name: self.figures(lane) for lane in self.plan.lanes}, orient="index"
        ).rename_axis("lane")

    def figures(self, lane: Lane) -> dict[str, object]:
        """Return one lane's metrics, ready for JSON."""
        return self._measured(lane)[0].as_dict(10**lane.broker.minor_digits)

    def trades(self, lane: Lane) -> pd.DataFrame:
        """Return one lane's closed round trips (first in, first out)."""
        _, trades = self._measured(lane)
        return trades_frame(trades, self.plan.symbols, 10**lane.broker.minor_digits)

    def _measured(self, lane: Lane) -> tuple[Metrics, Trades]:
        events = self.events.filter(pc.equal(self.events["lane"], lane.name))
        curve, fills = _curve(events), _fills(events, self.plan.symbols)
        trades, _ = match_fills(fills)
        interval = self.plan.interval
        metrics = compute(
            curve,
            self.calendar.session_ends(curve.ts, interval),
            trades,
            fills,
            initial=minor_units(lane.broker.cash, lane.broker.minor_digits),
            periods_per_year=self.calendar.periods_per_year(interval),
            calendar=self.calendar.name,
        )
        return metrics, trades

    def spark_frames(self, spark: SparkSession | None = None) -> dict[str, DataFrame]:
        """Return the views as Spark frames by name, in `spark` or the active session.

        Raises RuntimeError where there is no session.
        """
        from pyspark.sql import SparkSession

        active = spark or SparkSession.getActiveSession()
        if active is None:
            raise RuntimeError("there is no active SparkSession; pass one")
        return {name: active.createDataFrame(getattr(self, name)) for name in FRAMES}

    def _frame(self, *kinds: str) -> pd.DataFrame:
        rows = self.events.filter(pc.is_in(self.events["kind"], pa.array(kinds)))
        frame: pd.DataFrame = rows.to_pandas()
        scale = frame["lane"].map(
            {lane.name: 10.0**lane.broker.minor_digits for lane in self.plan.lanes}
        )
        for name in _MONEY:
            frame[name] = frame[name].astype(float) / scale.astype(float)
        frame["order_id"] = frame["order_id"].astype("Int64")
        return frame


def _keys(orders: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(orders[["lane", "order_id"]])


def _curve(events: pa.Table) -> Curve:
    rows = events.filter(pc.equal(events["kind"], "equity"))
    return Curve(_numbers(rows["ts"]), _numbers(rows["equity"]), _numbers(rows["exposure"]))


def _fills(events: pa.Table, symbols: tuple[str, ...]) -> Fills:
    rows = events.filter(pc.equal(events["kind"], "fill"))
    symbol = pc.index_in(rows["symbol"], pa.array(symbols, pa.string()))
    side = pc.if_else(pc.equal(rows["side"], "buy"), _SIDE_CODES["buy"], _SIDE_CODES["sell"])
    return Fills(
        ts=_numbers(rows["ts"]),
        symbol=symbol.to_numpy().astype(np.int32),
        side=side.to_numpy().astype(np.int8),
        quantity=rows["quantity"].to_numpy(),
        price=rows["price"].to_numpy(),
        commission=_numbers(rows["commission"]),
        amount=_numbers(rows["amount"]),
    )


def _numbers(column: pa.ChunkedArray) -> Any:
    return column.cast(pa.int64()).to_numpy()
