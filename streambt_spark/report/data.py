"""What a report is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class ReportData:
    """One lane of a run; money in currency units, `ts` columns in UTC.

    fills      lane, ts, symbol, side, quantity, price, commission, order_id, …
    orders     lane, ts, symbol, side, quantity, order_id, status, reason, …
    equity     lane, ts, cash, equity, exposure, drawdown: one row a slice
    positions  lane, ts, symbol, quantity: after each fill
    trades     symbol, side, quantity, entry_ts, entry_price, exit_ts, exit_price, pnl, commission,
               return, held: one row for each closed round trip
    metrics    as `Metrics.as_dict` returns it
    manifest   of these what is known: run_id, digest, engine, interval, bars, start, end, and the
               mappings counts, settings and versions
    prices     symbol, ts, close; without it there is no buy-and-hold and no price chart
    label      the parameters that tell the lane from the run's others
    errors     what the code of the run's strategies raised, a line each

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
    label: Mapping[str, object] = field(default_factory=dict)
    errors: Sequence[str] = ()

    def of_lane(self, name: str) -> pd.DataFrame:
        """Return the rows of this lane of a frame, given by its field's name."""
        frame: pd.DataFrame = getattr(self, name)
        return frame[frame["lane"] == self.lane] if "lane" in frame else frame
