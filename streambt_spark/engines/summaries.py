"""The summaries of a run's lanes: as the run recorded them, else made of its events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.ledger.summaries import Curve, from_text, summarise
from streambt_spark.core.ledger.trades import Fills
from streambt_spark.core.market.bars import interval_us
from streambt_spark.engines.frames import cash_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streambt_spark.core.market.sessions import Sessions
    from streambt_spark.core.plan import Lane, Plan
    from streambt_spark.engines.ledger import LaneRows, Ledger


def summaries_of(ledger: Ledger, plan: Plan, sessions: Sessions) -> dict[str, np.void]:
    """Return the summary of each lane by its name.

    A lane that records metrics only has none before its stream has ended.
    """
    told = _told(ledger, [lane.name for lane in plan.lanes])
    others = [lane for lane in plan.lanes if lane.name not in told and record_of(lane) != "metrics"]
    return told | _made(ledger, others, plan, sessions)


def record_of(lane: Lane) -> str:
    """Return what a lane records: full, equity or metrics."""
    return str(getattr(lane, "record", "full"))


def fills_of(rows: LaneRows, symbols: Sequence[str]) -> Fills:
    """Return fill events as fills, lane after lane."""
    return Fills(
        ts=rows.numbers("ts"),
        symbol=rows.codes("symbol", symbols),
        side=rows.signs(),
        quantity=rows.numbers("quantity"),
        price=rows.numbers("price"),
        commission=rows.numbers("commission"),
        amount=rows.numbers("amount"),
    )


def _told(ledger: Ledger, names: Sequence[str]) -> dict[str, np.void]:
    """Return what the summary events tell; of a lane with several the last one counts."""
    rows = ledger.of_lanes(names, ["summary"], ["text"])
    if not len(rows.lane):
        return {}
    texts = zip(rows.lane.tolist(), rows.table["text"].to_pylist(), strict=True)
    return {rows.lanes[k]: from_text(text)[0] for k, text in texts}


def _made(
    ledger: Ledger, lanes: Sequence[Lane], plan: Plan, sessions: Sessions
) -> dict[str, np.void]:
    """Return the summaries that the events of lanes give."""
    if not lanes:
        return {}
    names = [lane.name for lane in lanes]
    slices = ledger.of_lanes(names, ["equity"], ["ts", "equity", "exposure"])
    filled = ledger.of_lanes(names, ["fill"], FILL_COLUMNS)
    initial: NDArray[np.int64] = np.array([cash_of(lane) for lane in lanes], np.int64)
    summaries = summarise(
        initial,
        _curve(slices, plan.interval, sessions),
        slices.starts,
        fills_of(filled, plan.symbols),
        filled.starts,
        len(plan.symbols),
    )
    return dict(zip(names, summaries, strict=True))


FILL_COLUMNS = ("ts", "symbol", "side", "quantity", "price", "commission", "amount")


def _curve(rows: LaneRows, interval: str, sessions: Sessions) -> Curve:
    ts = rows.numbers("ts")
    session = sessions.session_of(ts, interval_us(interval))
    return Curve(ts, session, rows.numbers("equity"), rows.numbers("exposure"))
