"""Ledgers as the arrays that trades and summaries are made of."""

from __future__ import annotations

import numpy as np

from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import Kind
from streambt_spark.core.ledger.summaries import Curve
from streambt_spark.core.ledger.trades import Fills

DAY = 86_400_000_000
_DTYPES = (np.int64, np.int32, np.int8, np.float64, np.float64, np.int64, np.int64)


def no_fills() -> Fills:
    """Return no fills."""
    return Fills(*(np.empty(0, dtype) for dtype in _DTYPES))


def fills_of(events: Events, lane: int = 0) -> Fills:
    """Return the fills among the events of a lane, given by its index."""
    rows = np.flatnonzero((events.kind == Kind.FILL) & (events.lane == lane))
    return Fills(*(np.ascontiguousarray(getattr(events, name)[rows]) for name in Fills.__slots__))


def curve_of(events: Events, lane: int = 0) -> Curve:
    """Return a lane's slices, each day a session."""
    rows = np.flatnonzero((events.kind == Kind.EQUITY) & (events.lane == lane))
    ts = events.ts[rows]
    return Curve(ts, ts // DAY, events.equity[rows], events.exposure[rows])
