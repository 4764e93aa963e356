"""What a report is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streambt_spark.core.ledger.trades import Trades

_SIDES = np.array(["short", "", "long"], dtype=object)


@dataclass(frozen=True, slots=True, eq=False)
class ReportData:
    """One lane of a run; money in currency units, `ts` columns in UTC.

    fills      lane, ts, symbol, side, quantity, price, commission, order_id, …
    orders     lane, ts, symbol, side, quantity, order_id, status, reason, …
    equity     lane, ts, cash, equity, exposure, drawdown: one row a slice
    positions  lane, ts, symbol, quantity: after each fill
    trades     as `trades_frame` returns it
    metrics    as `Metrics.as_dict` returns it
    manifest   of these what is known: run_id, digest, engine, interval, bars, start, end, and the
               mappings counts, settings and versions
    prices     symbol, ts, close; without it there is no buy-and-hold and no price chart

    Frames with a `lane` column are cut down to `lane`, so a whole run's frames may be given.
    """

    strategy: str
    lane: str
    fills: pd.DataFrame
    orders: pd.DataFrame
    equity: pd.DataFrame
    positions: pd.DataFrame
    trades: pd.DataFrame
    metrics: Mapping[str, object]
    manifest: Mapping[str, object] = field(default_factory=dict)
    prices: pd.DataFrame | None = None

    def of_lane(self, name: str) -> pd.DataFrame:
        """Return the rows of this lane of a frame, given by its field's name."""
        frame: pd.DataFrame = getattr(self, name)
        return frame[frame["lane"] == self.lane] if "lane" in frame else frame


def trades_frame(trades: Trades, symbols: Sequence[str], minor_units: int = 100) -> pd.DataFrame:
    """Return closed round trips as a frame, money in currency units, `symbols` the universe."""
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


def _utc(ts: np.ndarray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(ts.astype("datetime64[us]"), tz="UTC")
