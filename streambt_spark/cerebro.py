"""Cerebro: where a strategy is put together, and run."""

from __future__ import annotations

import atexit
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from streambt_spark.calendars import Calendar
from streambt_spark.core import plan as plans
from streambt_spark.core.broker.allocation import Allocation
from streambt_spark.core.broker.recording import Recorded
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.identity import check_unchanged, identity_of
from streambt_spark.core.indicators.graph import DATA, Graph, Handle, Input, compile_graph
from streambt_spark.core.indicators.library import check_memory_on, check_same, declare
from streambt_spark.core.market.bars import Bars, interval_us, symbol_names
from streambt_spark.core.plan import Plan
from streambt_spark.engines import local
from streambt_spark.engines.result import Result
from streambt_spark.errors import BadParameter, ConfigError, GraphError
from streambt_spark.stores.intake import Intake, intake
from streambt_spark.stores.lake import Snapshot
from streambt_spark.stores.ledger import ledger_of_parts
from streambt_spark.stores.location import run_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = ["Cerebro", "Data", "Engine", "Universe"]

Engine = Literal["local", "spark"]
_JOB_OPTIONS = (
    "ledger", "checkpoint", "blocks", "shuffle_partitions", "arrow_batch", "master", "modules",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Universe:
    """The symbols and the interval of bars that are still to come, from a live stream."""

    symbols: tuple[str, ...]
    interval: str

    def __post_init__(self) -> None:
        interval_us(self.interval)
        if not self.symbols:
            raise ConfigError("a live universe needs its symbols, such as AAPL,SPY")
        object.__setattr__(self, "symbols", symbol_names(self.symbols))


Data: TypeAlias = Bars | Snapshot | Universe
"""What strategies run on."""


class Cerebro:
    """Collects data, indicators and strategies, and runs them on an engine.

    `broker` is the account and `record` the policy of every strategy that brings none of its own;
    `calendar` names the exchange calendar that metrics are annualised by (default: 24/7 for crypto,
    else XNYS). `modules` are those of the strategies that Spark's workers cannot import; their code
    is sent along.
    """

    def __init__(
        self,
        broker: Broker | None = None,
        *,
        calendar: str | None = None,
        record: Recorded = "full",
    ) -> None:
        self.broker = broker or Broker()
        self.record = record
        self.modules: tuple[ModuleType, ...] = ()
        self.data: Data | None = None
        self._intake: Intake | None = None
        self._calendar = calendar
        self._graph = Graph()
        self._lanes: dict[str, plans.Lane] = {}
        self._functions: dict[str, str] = {}  # what a lane's own allocation was when it was added

    def add_data(
        self,
        bars: Any,
        *,
        interval: str = "1d",
        symbols: Sequence[str] | None = None,
        columns: Mapping[str, str] | None = None,
        tz: str | None = None,
        allow_rejected: bool = False,
    ) -> Handle:
        """Set the bars and return their handle: `data["close"]`.

        `bars` is a file (CSV, CSV.gz, Parquet), a pandas frame, a list of dicts, an Arrow table,
        Bars, a Snapshot, or the Universe of a live stream; the other arguments tell how to read a
        file, frame, list or table, see `stores.intake`. Invalid rows are in the result's
        `quarantine`; more than 1 % of them are warned of, more than half refused unless
        `allow_rejected`. Raises DataError for what cannot be read, BadParameter where there is data
        already.
        """
        if self.data is not None:
            raise BadParameter("there is data already; one run reads one set of bars")
        if not isinstance(bars, Bars | Snapshot | Universe):
            self._intake = intake(
                bars,
                interval=interval,
                columns=columns,
                tz=tz,
                symbols=symbols,
                allow_rejected=allow_rejected,
            )
            if warning := self._intake.warning():
                warnings.warn(warning, stacklevel=2)
            bars = self._intake.bars
        self.data = bars
        return DATA

    def add_indicator(
        self,
        func: str | Callable[..., Any],
        *columns: Input,
        name: str | None = None,
        **params: Any,
    ) -> Handle:
        """Declare an indicator and return its handle; `handle["macdhist"]` is one of its outputs.

        `func` is a TA-Lib name or a causal Python function of NumPy arrays (see `indicator`);
        `columns` are handles, or texts naming a bar column or an indicator declared with `name`;
        without any (or with the bars' own handle) the function's price columns are taken. The same
        function of the same columns and parameters is computed once, however often it is declared.
        Raises GraphError for what cannot be built.
        """
        function = declare(func, params, len(columns) or None)
        return self._graph.add(function, columns, name)

    def add_strat(
        self,
        pulse: Handle,
        allocation: Allocation,
        *,
        broker: Broker | None = None,
        label: Mapping[str, object] | None = None,
        record: Recorded | None = None,
    ) -> str:
        """Add a strategy and return its id: a lane of the ledger.

        A pulse above 0 asks for the allocation's long target, below 0 for flat (short where the
        broker allows it), 0 or null keeps what is. `label` is what results call it by, such as its
        parameters; `record` is how much of it the ledger holds: "full", "equity" (fills and the
        equity at session ends) or "metrics" (its figures alone), by default what Cerebro's is.
        Adding the same again gives the same id and one lane. Raises GraphError where the pulse
        cannot be computed, BadParameter where the same was added with another label or record.
        """
        if not isinstance(pulse, Handle):
            raise BadParameter(
                f"a pulse is the handle of an indicator, found {type(pulse).__name__}"
            )
        lane = plans.lane(
            self._graph.ref(pulse),
            allocation,
            broker or self.broker,
            label=label,
            record=record or self.record,
        )
        known = self._lanes.setdefault(lane.name, lane)
        if (known.label, known.record) != (lane.label, lane.record):
            raise BadParameter(
                f"the same strategy was added as {dict(known.label)} with record={known.record!r}, "
                f"and now as {dict(lane.label)} with record={lane.record!r}; what differs is in "
                "neither its pulse, its allocation nor its broker"
            )
        if (function := lane.function()) is not None:
            self._functions[lane.name] = identity_of(function)
        return lane.name

    def plan(self) -> Plan:
        """Compile what was declared.

        Raises GraphError where it does not make a strategy, BadParameter where a function is no
        longer what it was when it was declared.
        """
        if self.data is None:
            raise BadParameter("there is no data; call add_data first")
        if not self._lanes:
            raise GraphError("no strategy was added; build() has to call cerebro.add_strat")
        lanes = tuple(self._lanes.values())
        nodes = plans.needed(compile_graph(self._graph).nodes, [lane.pulse for lane in lanes])
        check_same(node.function for node in nodes)
        for lane in lanes:
            if (function := lane.function()) is not None:
                check_unchanged(function, self._functions[lane.name])
        sessions = self.calendar.sessions
        return Plan(self.data.symbols, self.data.interval, nodes, lanes, sessions)

    @property
    def calendar(self) -> Calendar:
        """The calendar that metrics are annualised by. Raises ConfigError for an unknown name."""
        if self._calendar:
            return Calendar.named(self._calendar)
        return Calendar.default_for(self.data.symbols if self.data else ())

    def run(
        self, engine: Engine = "local", *, out: str | Path | None = None, **options: Any
    ) -> Result:
        """Run the strategies over the data and return the result.

        `local` folds in this process. `spark` replays a snapshot through Structured Streaming into
        a Delta ledger in `out`, a folder of this machine, resuming what an earlier call with the
        same arguments left; by default in a temporary folder, which goes with the process. Its
        `options` are those of `Job.in_folder` (ledger, checkpoint, blocks, shuffle_partitions,
        arrow_batch, master, modules) and of `engines.spark.replay` (slices_per_batch, speed,
        bars_per_second, sinks). Both give the same ledger, to the bit.
        """
        result = self._run(engine, run_folder(out) if out else None, options)
        if self._intake is None:
            return result
        return result.of_source(self._intake.counts, self._intake.quarantine)

    def _run(self, engine: Engine, out: Path | None, options: dict[str, Any]) -> Result:
        plan = self.plan()
        if isinstance(self.data, Universe):
            raise ConfigError("a live universe has no bars to replay; use streambt live")
        assert self.data is not None
        data = self.data
        for warning in check_memory_on(
            plans.compile_plan(plan).features,
            data.first if isinstance(data, Snapshot) else lambda _: data,
        ):
            warnings.warn(warning, stacklevel=3)
        if engine == "local":
            if options:
                raise ConfigError(f"the local engine has no options, found {sorted(options)}")
            return self._run_here(plan, data)
        if engine != "spark":
            raise ConfigError(
                f"engine {engine!r} is not known; use local or spark", option="--engine"
            )
        from streambt_spark.engines.job import temporary_folder  # Spark's imports take a second

        if out is not None:
            return self._run_on_spark(plan, data, out, options)
        with ExitStack() as stack:
            folder = stack.enter_context(temporary_folder())
            result = self._run_on_spark(plan, data, folder, options)
            atexit.register(stack.pop_all().close)  # not before: the result reads its ledger there
        return result

    def _run_on_spark(
        self, plan: Plan, data: Bars | Snapshot, folder: Path, options: dict[str, Any]
    ) -> Result:
        from streambt_spark.engines import spark
        from streambt_spark.engines.job import Job

        of_job = {name: options.pop(name) for name in _JOB_OPTIONS if name in options}
        of_job.setdefault("modules", self.modules)
        job = Job.in_folder(folder, **of_job)
        lake = folder / "snapshot"
        return spark.replay(plan, data, self.calendar, job, lake=lake, **options)

    def _run_here(self, plan: Plan, data: Bars | Snapshot) -> Result:
        bars = data.bars() if isinstance(data, Snapshot) else data
        parts = (events for _, events in local.fold(plan, bars))
        ledger = ledger_of_parts(parts, plan.vocabulary)
        return Result(plan, ledger, self.calendar, {"engine": "local"}, bars)
