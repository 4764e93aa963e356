"""One lane folded over a panel, without a plan."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from streambt_spark.core.broker.allocation import Allocation
from streambt_spark.core.broker.recording import policy_of
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.broker.terms import compile_terms
from streambt_spark.core.broker.trade import close_books, open_books, trade
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.market.panel import Panel


def part(panel: Panel, rows: slice) -> Panel:
    """Return some of a panel's slices."""
    names = ("ts", "present", "open", "high", "low", "close", "volume")
    return Panel(panel.symbols, *(getattr(panel, name)[rows] for name in names))


def fold_lane(
    panel: Panel,
    strength: np.ndarray,
    broker: Broker,
    allocation: Allocation,
    *,
    cuts: Sequence[int] = (),
    record: str = "full",
    sessions: np.ndarray | None = None,
) -> Events:
    """Return the events of a lane, folded in portions that end at the cuts."""
    terms = compile_terms(broker, allocation, panel.symbols, policy=policy_of(record))
    sessions = panel.ts if sessions is None else sessions
    books, events = open_books([terms], len(panel.symbols)), list[Events]()
    edges = (0, *sorted(min(cut, len(panel.ts)) for cut in cuts), len(panel.ts))
    for start, stop in pairwise(edges):
        rows = slice(start, stop)
        books, new = trade([terms], books, part(panel, rows), sessions[rows], [strength[rows].T])
        events += new
    return Events.concat([*events, *close_books(books)[1]])
