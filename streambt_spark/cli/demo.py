"""`streambt demo`: the whole chain in one folder, from a file of bars to the report."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import typer

from streambt_spark.cli.options import takes
from streambt_spark.errors import ConfigError, OutputError, RunError, SetupError
from streambt_spark.settings import Settings

MARKER = ".streambt-demo"
"""Marks a folder that the next demo may replace."""

STRATEGY = "sma_cross.py"
SYMBOLS = ("ALFA", "BETA", "GAMM", "DELT", "EPSI")
SESSIONS = 1_250
DEFAULTS = {"interval": "1d", "commission": "0.1%", "engine": "spark", "out": "demo-run"}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(demo)


@takes(
    "data.bars", "data.interval", "data.symbols", "broker", "run.parameters",
    "run.slices_per_batch", "run.out", "mongo.address",
    defaults=DEFAULTS,
)  # fmt: skip
def demo(settings: Settings) -> None:
    """Ingest, export, run on Spark and locally, report; over generated bars, or --bars."""
    from streambt_spark.cli.data import look_at_bars
    from streambt_spark.spark.java import java_version
    from streambt_spark.stores.location import run_folder

    strategy = settings.run.strategy or str(example(STRATEGY))
    settings = settings.replaced("run", strategy=strategy)
    bars, folder = settings.data.bars, run_folder(settings.run.out or "")
    if bars is not None:
        look_at_bars(settings)
        if Path(bars).absolute().is_relative_to(folder):
            raise ConfigError(
                f"--bars {bars} is in {folder}, which the demo makes anew; move it away",
                option="--bars",
                address=bars,
            )
    java_version()
    _renew(folder)
    if bars is None:
        settings = settings.replaced("data", bars=str(_generate(folder, settings)))
    snapshot = _store(settings, folder)
    settings = settings.replaced("data", bars=None, snapshot=snapshot)
    _run(settings.replaced("run", out=str(folder / "run")))


def example(name: str) -> Path:
    """Return an example strategy: of the source tree, or as the package was installed with it."""
    here = Path(__file__).parents[1]
    for folder in (here / "examples", here.parent / "examples"):
        if (folder / name).is_file():
            return folder / name
    raise SetupError(f"the example {name} is not installed; install streambt-spark again")


def _renew(folder: Path) -> None:
    try:
        if folder.exists() and any(folder.iterdir()):
            if not (folder / MARKER).exists():
                raise OutputError(
                    f"--out {folder} holds something that is no demo; choose another folder",
                    option="--out",
                    address=str(folder),
                )
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).touch()
    except OSError as error:
        raise OutputError(f"--out {folder} cannot be written: {error.strerror}") from error


def _generate(folder: Path, settings: Settings) -> Path:
    import pyarrow.parquet as pq

    from streambt_spark.stores.generator import generate
    from streambt_spark.stores.tables import bars_to_table

    made = generate(settings.data.symbols or SYMBOLS, SESSIONS, settings.data.interval or "1d")
    path = folder / "bars.parquet"
    pq.write_table(bars_to_table(made), path)
    typer.echo(f"generated {len(made):,} bars of {len(made.symbols)} symbols")
    return path


def _store(settings: Settings, folder: Path) -> str:
    from streambt_spark.cli.data import export_snapshot, ingest_file, open_store
    from streambt_spark.cli.output import counts_line

    with open_store(settings.replaced("mongo", folder=str(folder / "mongo"))) as store:
        typer.echo(f"MongoDB: {counts_line(asdict(ingest_file(store, settings)))}")
        snapshot = export_snapshot(store, settings, str(folder / "snapshots"))
    typer.echo(f"snapshot: {snapshot.rows:,} bars in {snapshot.path}")
    return snapshot.path


def _run(settings: Settings) -> None:
    from streambt_spark.assembly import assemble
    from streambt_spark.cli.backtest import backtest
    from streambt_spark.cli.inputs import read_input

    result = backtest(settings)
    digest = assemble(settings, read_input(settings).data).run("local").digest
    if digest != result.digest:
        raise RunError(f"the local engine's digest is {digest}, Spark's is {result.digest}")
    typer.echo("the local engine's ledger is the same, to the bit")
