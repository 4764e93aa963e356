"""What `streambt run` does, from the settings to the run's folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streambt_spark import strategy_file
from streambt_spark.assembly import assemble, strategy_path
from streambt_spark.cli.folder import Folder, versions
from streambt_spark.cli.inputs import Input, read_input
from streambt_spark.cli.output import console, counts_line, disabled_line, metrics_table, remark
from streambt_spark.cli.progress import progress_sinks
from streambt_spark.engines.binding import Mark, put, require_own, run_id
from streambt_spark.errors import ExtraMissing, StrategyError
from streambt_spark.masking import mask_values
from streambt_spark.spark.java import java_version
from streambt_spark.stores.lease import lease
from streambt_spark.stores.ledger import write_ledger
from streambt_spark.stores.location import Location, run_folder

if TYPE_CHECKING:
    from streambt_spark.cerebro import Cerebro
    from streambt_spark.engines.result import Result
    from streambt_spark.settings import Settings

Figures = dict[str, dict[str, object]]
_STARTED = ("PYSPARK_GATEWAY_PORT", "DATABRICKS_RUNTIME_VERSION", "SPARK_REMOTE")
"""Variables that tell of a Spark which runs already."""
SHOWN_ERRORS = 5
LOUD = 0.01
"""A share of rejected rows above which a run warns: one bad row of many is no news."""


def backtest(settings: Settings) -> Result:
    """Run the strategy and write its folder; nothing is written before all input was accepted.

    Raises StrategyError at the end, with all results written, where a strategy was disabled.
    """
    strategy_file.look_at(strategy_path(settings))
    folder = Folder(run_folder(settings.run.out)) if settings.run.out else None
    if folder:
        folder.require_writable()
    if settings.run.engine == "spark":
        require_java()
    with lease(*_places(folder, settings)), _out(folder, settings) as out:
        source = read_input(settings)
        cerebro = assemble(settings, source.data)
        identity = run_id(cerebro.plan(), source.digest or source.source)
        if out is None:
            ran = _run_here(cerebro, settings, folder, identity)
        else:
            ran = _run_on_spark(cerebro, settings, folder, out)
        result = ran.of_source(source.counts, source.quarantine)
        write_results(folder, settings, identity, source, result)
        require_enabled(result)
    return result


def _out(folder: Folder | None, settings: Settings) -> AbstractContextManager[Path | None]:
    """Return where Spark works: the run's folder, or else one that goes with the command.

    The local engine works in memory and has none.
    """
    if settings.run.engine == "local":
        return nullcontext()
    from streambt_spark.engines.job import temporary_folder

    return temporary_folder() if folder is None else nullcontext(folder.path)


def _places(folder: Folder | None, settings: Settings) -> list[str]:
    """Return what the run writes to; nothing without --out, for the local engine keeps nothing."""
    if folder is None:
        return []
    return [str(folder.path), settings.run.ledger or folder.ledger]


def require_java() -> None:
    """Raise JavaMissing where Spark could not start, unless one runs already."""
    if not any(name in os.environ for name in _STARTED):
        java_version()


def _run_here(cerebro: Cerebro, settings: Settings, folder: Folder | None, identity: str) -> Result:
    if settings.run.speed or settings.run.bars_per_second:
        remark("the local engine is not paced; for --speed or --bars-per-second use spark")
    if settings.run.blocks > 1:
        remark("the local engine runs all strategies in one process; for --blocks use spark")
    if folder is None:
        return cerebro.run("local")
    ledger = Location.of(settings.run.ledger or folder.ledger).text
    mark = Mark(identity, "local", str(folder.path), ledger)
    require_own(mark)
    result = cerebro.run("local")
    put(mark)
    write_ledger(ledger, result.ledger)
    return result


def _run_on_spark(cerebro: Cerebro, settings: Settings, folder: Folder | None, out: Path) -> Result:
    run = settings.run
    with progress_sinks(folder.path if folder else None) as sinks:
        return cerebro.run(
            "spark",
            out=out,
            ledger=run.ledger,
            checkpoint=run.checkpoint,
            blocks=run.blocks,
            slices_per_batch=run.slices_per_batch,
            speed=run.speed,
            bars_per_second=run.bars_per_second or 0.0,
            shuffle_partitions=run.shuffle_partitions,
            arrow_batch=run.arrow_batch,
            sinks=sinks,
        )


def write_results(
    folder: Folder | None, settings: Settings, run_id: str, source: Input, result: Result
) -> None:
    """Write all but the ledger into the folder, the manifest last, and print the figures."""
    figures = {lane.name: result.figures(lane) for lane in result.plan.lanes}
    if folder:
        _write(folder, settings, run_id, source, result, figures)
    for note in result.notes:
        remark(note)
    _print(folder, result, figures)


def require_enabled(result: Result) -> None:
    """Raise StrategyError where a strategy was disabled, after a line for each of the first."""
    errors = result.failures
    for failure in errors[1:SHOWN_ERRORS]:
        remark(disabled_line(failure))
    if errors:
        first, many = errors[0], f"{len(errors):,} of {len(result.plan.lanes):,} strategies"
        raise StrategyError(
            f"{many} raised and placed no more orders; {disabled_line(first)}",
            lane=first.lane,
            ts=first.ts,
        )


def _write(
    folder: Folder,
    settings: Settings,
    run_id: str,
    source: Input,
    result: Result,
    figures: Figures,
) -> None:
    address = settings.run.ledger or folder.ledger
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a view lacks is remarked by write_results
        for name in ("fills", "orders", "equity"):
            folder.write_frame(name, getattr(result, name))
    if len(result.quarantine):
        folder.write_frame("quarantine", result.quarantine)
    first = next(iter(figures))
    folder.write_json("metrics.json", {"lane": first, **figures[first], "lanes": figures})
    manifest = _manifest(settings, run_id, source, result, folder.relative(address))
    _report(folder, manifest, source, result)
    folder.write_json("manifest.json", manifest)


def _manifest(
    settings: Settings, run_id: str, source: Input, result: Result, ledger: str
) -> dict[str, Any]:
    labels = {lane: label for lane, label in result.labels.items() if label}
    content = {
        "run_id": run_id,
        "digest": result.digest,
        "engine": result.settings["engine"],
        "strategy": Path(settings.run.strategy or "").name,
        "parameters": settings.run.parameters,
        "lanes": [lane.name for lane in result.plan.lanes],
        **({"labels": labels} if labels else {}),
        "errors": [{"lane": e.lane, "ts": e.time, "text": e.text} for e in result.failures],
        "source": source.source,
        "bars": {"rows": source.rows, "digest": source.digest or None},
        "interval": source.data.interval,
        "symbols": list(source.data.symbols),
        "calendar": result.calendar.name,
        "ledger": ledger,
        "counts": result.counts,
        "settings": settings.model_dump(mode="json", include={"data", "broker", "run"}),
        "versions": versions(),
    }
    masked: dict[str, Any] = mask_values(content)
    return masked


def _report(folder: Folder, manifest: Mapping[str, Any], source: Input, result: Result) -> None:
    try:
        result.report(folder.report, manifest=manifest, prices=source.prices())
    except ExtraMissing as error:
        remark(f"no report.html: {error}")


def _print(folder: Folder | None, result: Result, figures: Figures) -> None:
    out = console()
    out.print(metrics_table(figures, result.labels))
    counts = result.counts
    out.print(counts_line(counts))
    if counts["rejected"] > LOUD * counts["read"]:
        where = f"{folder.path}/quarantine.csv has them" if folder else "--out DIR keeps them"
        remark(
            f"warning: {counts['rejected']:,} of {counts['read']:,} rows "
            f"({counts['rejected'] / counts['read']:.1%}) were rejected; {where}"
        )
    out.print(f"digest {result.digest}")
    if folder is None:
        return
    out.print(f"results {folder.path}", markup=False)
    if folder.report.exists():
        out.print(f"report {folder.report}", markup=False)
