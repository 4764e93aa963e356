"""What `streambt run` does, from the settings to the run's folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streambt_spark import strategy_file as strategies
from streambt_spark.cerebro import Cerebro
from streambt_spark.cli.folder import Folder, versions
from streambt_spark.cli.inputs import Input, read_input, require
from streambt_spark.cli.output import console, metrics_table, remark
from streambt_spark.cli.progress import progress_sinks
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.identity import digest_of
from streambt_spark.core.market.instruments import Instrument
from streambt_spark.errors import ExtraMissing
from streambt_spark.report import ReportData, render
from streambt_spark.spark.java import java_version
from streambt_spark.stores.ledger import write_ledger

if TYPE_CHECKING:
    from streambt_spark.config import Settings
    from streambt_spark.engines.result import Result
    from streambt_spark.strategy_file import Strategy

Figures = dict[str, dict[str, object]]
_STARTED = ("PYSPARK_GATEWAY_PORT", "DATABRICKS_RUNTIME_VERSION", "SPARK_REMOTE")
"""Variables that tell of a Spark which runs already."""


def backtest(settings: Settings) -> Result:
    """Run the strategy and write its folder; nothing is written before all input was accepted."""
    file = require(settings.run.strategy, "STRATEGY", "a Python file with build(cerebro, bars)")
    folder = Folder(Path(settings.run.out).absolute()) if settings.run.out else None
    if folder:
        folder.require_writable()
    if settings.run.engine == "spark":
        require_java()
    strategy = strategies.load(file)
    found = read_input(settings)
    cerebro = Cerebro(broker_of(settings), calendar=settings.data.calendar)
    strategy.build(cerebro, cerebro.add_data(found.data), settings.run.parameters)
    identity = run_id(cerebro, found)
    if folder:
        folder.claim(identity, settings.run.engine)
        if settings.run.engine == "local":
            folder.claim_ledger(settings.run.ledger)
    ran = _run(cerebro, settings, strategy, folder)
    result = replace(ran, source=found.counts, quarantine=found.quarantine)
    if settings.run.engine == "local" and folder:
        write_ledger(settings.run.ledger or folder.ledger, result.ledger)
    write_results(folder, settings, identity, found, result)
    return result


def require_java() -> None:
    """Raise JavaMissing where Spark could not start, unless one runs already."""
    if not any(name in os.environ for name in _STARTED):
        java_version()


def broker_of(settings: Settings) -> Broker:
    """Return the account that the settings describe; raises BadParameter for a wrong scheme."""
    told = settings.broker
    return Broker(
        cash=told.cash,
        commission=told.commission,
        slippage=told.slippage,
        allow_short=told.allow_short,
        minor_digits=told.minor_digits,
        instruments={s: Instrument(**i.model_dump()) for s, i in told.instruments.items()},
    )


def run_id(cerebro: Cerebro, found: Input) -> str:
    """Return the digest of all that determines the result: strategy, account, bars and code."""
    code = versions()["streambt-spark"]
    bars = found.digest or found.source
    return digest_of({"plan": cerebro.plan().identity, "bars": bars, "code": code})


def _run(cerebro: Cerebro, settings: Settings, strategy: Strategy, folder: Folder | None) -> Result:
    told = settings.run
    if told.engine == "local":
        if told.speed or told.bars_per_second:
            remark("the local engine is not paced; for --speed or --bars-per-second use spark")
        return cerebro.run("local")
    out = folder.path if folder else None
    with progress_sinks(out) as sinks:
        return cerebro.run(
            "spark",
            out=out,
            ledger=told.ledger,
            checkpoint=told.checkpoint,
            slices_per_batch=told.slices_per_batch,
            speed=told.speed,
            bars_per_second=told.bars_per_second or 0.0,
            shuffle_partitions=told.shuffle_partitions,
            arrow_batch=told.arrow_batch,
            modules=strategy.modules,
            sinks=sinks,
        )


def write_results(
    folder: Folder | None, settings: Settings, run_id: str, found: Input, result: Result
) -> None:
    """Write all but the ledger into the folder, the manifest last, and print the figures."""
    figures = {lane.name: result.figures(lane) for lane in result.plan.lanes}
    if folder:
        _write(folder, settings, run_id, found, result, figures)
    _print(folder, result, figures)


def _write(
    folder: Folder,
    settings: Settings,
    run_id: str,
    found: Input,
    result: Result,
    figures: Figures,
) -> None:
    address = settings.run.ledger or folder.ledger
    for name in ("fills", "orders", "equity"):
        folder.write_frame(name, getattr(result, name))
    if result.quarantine is not None and len(result.quarantine):
        folder.write_frame("quarantine", result.quarantine.to_pandas())
    first = next(iter(figures))
    folder.write_json("metrics.json", {"lane": first, **figures[first], "lanes": figures})
    manifest = _manifest(settings, run_id, found, result, folder.relative(address))
    _report(folder, manifest, found, result, figures)
    folder.write_json("manifest.json", manifest)


def _manifest(
    settings: Settings, run_id: str, found: Input, result: Result, ledger: str
) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "digest": result.digest,
        "engine": result.settings["engine"],
        "strategy": Path(settings.run.strategy or "").name,
        "parameters": settings.run.parameters,
        "lanes": [lane.name for lane in result.plan.lanes],
        "source": found.source,
        "bars": {"rows": found.rows, "digest": found.digest or None},
        "interval": found.data.interval,
        "symbols": list(found.data.symbols),
        "calendar": result.calendar.name,
        "ledger": ledger,
        "counts": result.counts,
        "settings": settings.model_dump(mode="json", include={"data", "broker", "run"}),
        "versions": versions(),
    }


def _report(
    folder: Folder,
    manifest: Mapping[str, Any],
    found: Input,
    result: Result,
    figures: Figures,
) -> None:
    lane = result.plan.lanes[0]
    data = ReportData(
        strategy=Path(manifest["strategy"]).stem,
        lane=lane.name,
        fills=result.fills,
        orders=result.orders,
        equity=result.equity,
        positions=result.positions,
        trades=result.trades(lane),
        metrics=figures[lane.name],
        manifest=manifest,
        prices=found.prices(),
    )
    try:
        render(data, folder.report)
    except ExtraMissing as error:
        remark(f"no report.html: {error}")


def _print(folder: Folder | None, result: Result, figures: Figures) -> None:
    out = console()
    out.print(metrics_table(figures))
    out.print(f"digest {result.digest}")
    if folder is None:
        return
    out.print(f"results {folder.path}", markup=False)
    if folder.report.exists():
        out.print(f"report {folder.report}", markup=False)
