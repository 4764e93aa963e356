"""What a run gives back: its ledger, and the views and figures made of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from streambt_spark.calendars import Calendar
from streambt_spark.core.ledger.metrics import CONVENTIONS, FIGURES, Metrics, measure
from streambt_spark.core.ledger.trades import match_fills
from streambt_spark.core.plan import Lane
from streambt_spark.engines import frames
from streambt_spark.engines.frames import VIEWS, minor_of, trades_frame
from streambt_spark.engines.ledger import Ledger, LedgerSource
from streambt_spark.engines.summaries import FILL_COLUMNS, fills_of, record_of, summaries_of
from streambt_spark.errors import BadParameter, NoData, did_you_mean
from streambt_spark.masking import mask
from streambt_spark.stores.frames import bars_to_long, widen
from streambt_spark.stores.intake import QUARANTINE_SCHEMA, Counts
from streambt_spark.stores.lake import open_snapshot
from streambt_spark.stores.ledger import Failure, account_events, failures, ledger_digest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from streambt_spark.core.market.bars import Bars
    from streambt_spark.core.plan import Plan

_NO_ROWS = QUARANTINE_SCHEMA.empty_table()
_SHOWN_ERRORS = 20
_RECORDED = {
    "fills": ("full", "equity"),
    "orders": ("full",),
    "equity": ("full", "equity"),
    "positions": ("full", "equity"),
}
"""The views, and which record policies of a lane leave rows in them."""


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A run's ledger with the plan that made it.

    The ledger is a table (LEDGER_SCHEMA, any order of rows), its address, or what returns it when
    called; of the latter two only what is asked for is read. The views are pandas frames over all
    lanes, ordered by (lane, ts, event); they are made when first asked for. A lane is given by the
    id that `add_strat` returned, or as the plan's; where it may be left out, the first one is
    meant. `settings` tells how it was run: the engine, and where the ledger is. `bars` are those of
    a local run; `source` and `quarantine` tell of the rows that a file, frame or list had besides
    them, see `of_source`.
    """

    plan: Plan
    reader: Ledger | LedgerSource
    calendar: Calendar
    settings: Mapping[str, Any] = field(default_factory=dict)
    bars: Bars | None = None
    source: Counts = field(default_factory=Counts)
    quarantine: pd.DataFrame = field(default_factory=lambda: _NO_ROWS.to_pandas())

    def __post_init__(self) -> None:
        if not isinstance(self.reader, Ledger):
            object.__setattr__(self, "reader", Ledger(self.reader))

    def of_source(self, counts: Counts, refused: pa.Table | None) -> Result:
        """Return the result with what became of the source's rows that the run did not see."""
        quarantine = _NO_ROWS if refused is None else refused
        return replace(self, source=counts, quarantine=quarantine.to_pandas())

    def __repr__(self) -> str:
        plan, engine = self.plan, self.settings.get("engine", "unknown")
        return (
            f"<Result of {len(plan.lanes)} strategies on {len(plan.symbols)} symbols,"
            f" {plan.interval}, engine {engine}>"
        )

    def _repr_html_(self) -> str:
        from streambt_spark.report.notebook import Overview, overview_html

        facts = {
            "engine": self.settings.get("engine", "unknown"),
            "strategies": len(self.plan.lanes),
            "symbols": len(self.plan.symbols),
            "interval": self.plan.interval,
            "digest": self.digest,
        }
        figures: dict[str, Any] = {
            str(lane): found for lane, found in self.metrics.to_dict("index").items()
        }
        errors = _error_texts(self.errors)
        return overview_html(Overview(facts, figures, self.labels, errors, self.notes, self.counts))

    @property
    def ledger(self) -> pa.Table:
        """All events as they were stored."""
        return self._ledger.table

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
        found = self._ledger.counts()
        run = Counts(**{each.name: found.get(each.name, 0) for each in fields(Counts)})
        # The run read the source's bars: what it accepted but for those that were replaced.
        passed_on = self.source.accepted - self.source.revised
        besides = replace(
            self.source, read=self.source.read - passed_on, accepted=self.source.revised
        )
        return asdict(run + besides)

    @cached_property
    def failures(self) -> list[Failure]:
        """The strategies whose code raised; they placed no more orders, the others went on."""
        return failures(self.events)

    @cached_property
    def fills(self) -> pd.DataFrame:
        """One row for each fill; `amount` is what it changed the cash by, commission included."""
        return self._view("fills")

    @cached_property
    def positions(self) -> pd.DataFrame:
        """The quantity held in a symbol after each fill."""
        return self._view("positions")

    @cached_property
    def equity(self) -> pd.DataFrame:
        """One row for each slice; `drawdown` is the fraction below the highest equity so far.

        A lane that records `equity` has one for each session's end.
        """
        return self._view("equity")

    @cached_property
    def orders(self) -> pd.DataFrame:
        """One row for each order, its status and what became of it.

        The status is open, filled, partially_filled or rejected. `filled_quantity` may be less
        than `quantity`: an order of AllIn fills for what the cash covers at the open. Of several
        fills, `fill_price` is the mean.
        """
        return self._view("orders")

    @cached_property
    def errors(self) -> pd.DataFrame:
        """One row for each strategy that was disabled because its code raised, and why."""
        return frames.errors_frame(self._ledger, self._ordered)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row for each lane by its id, one column for each figure; null where undefined."""
        lanes = self.plan.lanes
        return frames.metrics_frame([self._metrics.get(lane.name) for lane in lanes], lanes)

    @cached_property
    def lanes(self) -> pd.DataFrame:
        """One row for each lane: its id, the parameters of its label, its metrics.

        A parameter named like a figure has `label_` before its name.
        """
        labels = pd.DataFrame(list(self.labels.values()), index=self.metrics.index)
        clash = {name: f"label_{name}" for name in labels if name in {"lane", *FIGURES}}
        return labels.rename(columns=clash).join(self.metrics).reset_index()

    @property
    def labels(self) -> dict[str, dict[str, object]]:
        """The label of each lane by its id; empty where it has none."""
        return {lane.name: dict(getattr(lane, "label", None) or {}) for lane in self.plan.lanes}

    @property
    def notes(self) -> list[str]:
        """What the views do not show because lanes did not record it."""
        views: dict[tuple[str, ...], list[str]] = {}
        for view in _RECORDED:
            views.setdefault(self._without(view), []).append(view)
        return [_note(views[lanes], lanes, self.plan) for lanes in views if lanes]

    def figures(self, lane: Lane | str | None = None) -> dict[str, object]:
        """Return one lane's metrics, ready for JSON."""
        chosen = self._lane(lane)
        found = self._metrics.get(chosen.name)
        if found is None:
            return dict.fromkeys(FIGURES) | {
                "calendar": self.calendar.name,
                "conventions": dict(CONVENTIONS),
            }
        return found.as_dict(minor_of(chosen))

    def trades(self, lane: Lane | str | None = None) -> pd.DataFrame:
        """Return one lane's closed round trips (first in, first out)."""
        chosen = self._lane(lane)
        rows = self._ledger.of_lanes([chosen.name], ["fill"], FILL_COLUMNS)
        trades, _ = match_fills(fills_of(rows, self.plan.symbols))
        return trades_frame(trades, self.plan.symbols, minor_of(chosen))

    def long(self, lane: Lane | str | None = None) -> pd.DataFrame:
        """Return the run's bars by rows of (symbol, ts), ascending.

        With a lane there is also what it `traded` in the bar (signed) and the `position` after it.
        Raises NoData where the run kept no bars, as a live one.
        """
        bars = bars_to_long(self._bars())
        if lane is None:
            return bars
        return frames.with_fills(bars, self._of_lane("fills", self._lane(lane)))

    def wide(self, lane: Lane | str | None = None) -> pd.DataFrame:
        """Return the same by rows of time and MultiIndex columns of (symbol, field)."""
        return widen(self.long(lane))

    def plot(self, lane: Lane | str | None = None) -> Any:
        """Return one lane's equity and drawdown as a Plotly figure.

        Raises ExtraMissing without the `report` extra, NoData where the lane recorded no equity.
        """
        from streambt_spark.report.charts import equity_plot

        chosen = self._lane(lane)
        equity = self._of_lane("equity", chosen)
        if not len(equity):
            raise NoData(f"there is no equity of {chosen.name} to plot; add it with record='full'")
        ts = pd.DatetimeIndex(equity["ts"])
        return equity_plot(ts, equity["equity"].to_numpy(np.float64), chosen.broker.cash)

    def report(
        self,
        path: str | Path,
        lane: Lane | str | None = None,
        *,
        manifest: Mapping[str, Any] | None = None,
        prices: pd.DataFrame | None = None,
    ) -> Path:
        """Write one lane's tear sheet as an HTML file and return its path.

        `manifest` and `prices` (symbol, ts, close) are those of `ReportData`, without a manifest
        what the result knows. Raises ExtraMissing without the `report` extra, OutputError where the
        file cannot be written.
        """
        from streambt_spark.report import ReportData, render

        chosen = self._lane(lane)
        if manifest is None:
            manifest = self._manifest()
            prices = self._prices() if prices is None else prices
        views = {name: self._of_lane(name, chosen) for name in _RECORDED}
        data = ReportData(
            strategy=Path(str(manifest.get("strategy") or "Strategy")).stem,
            lane=chosen.name,
            trades=self.trades(chosen),
            metrics=self.figures(chosen),
            manifest=manifest,
            prices=prices,
            label=self.labels[chosen.name],
            errors=_error_texts(self.errors),
            **views,
        )
        return render(data, path)

    def spark_frames(self, spark: SparkSession | None = None) -> dict[str, DataFrame]:
        """Return the views as Spark frames by name, in `spark` or the active session.

        Raises RuntimeError where there is no session.
        """
        from pyspark.sql import SparkSession

        active = spark or SparkSession.getActiveSession()
        if active is None:
            raise RuntimeError("there is no active SparkSession; pass one")
        return {name: active.createDataFrame(getattr(self, name)) for name in _RECORDED}

    @property
    def _ledger(self) -> Ledger:
        assert isinstance(self.reader, Ledger)
        return self.reader

    @cached_property
    def _metrics(self) -> dict[str, Metrics]:
        summaries = summaries_of(self._ledger, self.plan, self.calendar.sessions)
        per_year = self.calendar.periods_per_year(self.plan.interval)
        return {
            name: measure(summary, periods_per_year=per_year, calendar=self.calendar.name)
            for name, summary in summaries.items()
        }

    @property
    def _ordered(self) -> list[Lane]:
        return sorted(self.plan.lanes, key=lambda lane: lane.name)

    def _lane(self, lane: Lane | str | None) -> Lane:
        """Return a lane of the plan; raises BadParameter where it has no such one."""
        if lane is None:
            return self.plan.lanes[0]
        name = lane.name if isinstance(lane, Lane) else str(lane)
        known = {each.name: each for each in self.plan.lanes}
        if name not in known:
            raise BadParameter(
                f"the run has no strategy {name!r}{did_you_mean(name, known)};"
                " give the id that add_strat returned, one of result.lanes"
            )
        return known[name]

    def _bars(self) -> Bars:
        """Return the run's bars; raises NoData where they are neither in memory nor a snapshot."""
        if self.bars is not None:
            return self.bars
        if "snapshot" not in self.settings:
            raise NoData("the run kept no bars: it was not of bars in memory, nor of a snapshot")
        return open_snapshot(self.settings["snapshot"]).bars()

    def _manifest(self) -> dict[str, Any]:
        told = {"digest": self.digest, "interval": self.plan.interval, "counts": self.counts}
        return {**self.settings, **told}

    def _prices(self) -> pd.DataFrame | None:
        return None if self.bars is None else bars_to_long(self.bars)["close"].reset_index()

    def _of_lane(self, view: str, lane: Lane) -> pd.DataFrame:
        """Return a view of one lane, without making it of the others."""
        frame: pd.DataFrame = getattr(frames, f"{view}_frame")(self._ledger, [lane])
        return frame[list(VIEWS[view])]

    def _view(self, name: str) -> pd.DataFrame:
        frame: pd.DataFrame = getattr(frames, f"{name}_frame")(self._ledger, self._ordered)
        frame = frame[list(VIEWS[name])]
        if lanes := self._without(name):
            frame.attrs["note"] = _note([name], lanes, self.plan)
            warnings.warn(frame.attrs["note"], stacklevel=4)  # of who asked, above two properties
        return frame

    def _without(self, view: str) -> tuple[str, ...]:
        """Return the lanes that record no rows of a view."""
        lanes = self.plan.lanes
        return tuple(lane.name for lane in lanes if record_of(lane) not in _RECORDED[view])


def _note(views: list[str], lanes: tuple[str, ...], plan: Plan) -> str:
    """Return what lanes did not record, and the way to it."""
    return (
        f"{', '.join(views)} of {len(lanes):,} of {len(plan.lanes):,} strategies, such as"
        f" {lanes[0]}, were not recorded; add them with record='full'"
    )


def _error_texts(errors: pd.DataFrame) -> list[str]:
    """Return a line for each of the first strategies that were disabled, and one for the rest."""
    told = errors["text"].fillna(errors["reason"])
    lines = [
        f"{lane}, disabled at {ts:%Y-%m-%d %H:%M:%S}: {mask(text)}"
        for lane, ts, text in zip(errors["lane"], errors["ts"], told, strict=True)
    ]
    rest = len(lines) - _SHOWN_ERRORS
    return lines if rest <= 0 else [*lines[:_SHOWN_ERRORS], f"and {rest:,} more strategies"]
