"""A run's folder: what `run --out DIR` leaves there, and how it is read again.

manifest.json   run_id, digest, engine, versions, counts, strategy, settings, ledger address
metrics.json    the first strategy's figures, and under `lanes` those of each
fills.csv orders.csv equity.csv
quarantine.csv  the refused rows of the source with their reasons, where there are any
report.html     the tear sheet of the first strategy
progress.jsonl  a line for each micro-batch of a Spark run, and for what befell it
_run.json       whose the folder is, from the first time that a run writes into it
_lease          who works in it just now
ledger/         the Delta ledger, unless --ledger put it elsewhere
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from streambt_spark.errors import OutputError, SourceNotFound

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

CSV_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "fills": ("lane", "ts", "symbol", "side", "quantity", "price", "commission", "order_id"),
    "orders": (
        "lane", "ts", "symbol", "side", "quantity", "order_id", "status", "reason", "filled_ts",
        "filled_quantity", "fill_price", "commission",
    ),
    "equity": ("lane", "ts", "cash", "equity", "drawdown"),
}  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a cell a formula; a crypto symbol (@BTCUSD) holds nothing that could be called."""
PACKAGES = ("numpy", "numba", "ta-lib", "pandas", "pyarrow", "pyspark", "delta-spark")


@dataclass(frozen=True, slots=True)
class Folder:
    """A run's folder."""

    path: Path

    @property
    def ledger(self) -> str:
        """The address of the Delta ledger where the run names no other."""
        return str(self.path / "ledger")

    @property
    def report(self) -> Path:
        """The tear sheet."""
        return self.path / "report.html"

    def require_writable(self) -> None:
        """Raise OutputError where the folder cannot be made or written; leave nothing behind."""
        missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(
                f"--out {self.path} cannot be written: {reason}; choose another folder",
                option="--out",
                address=str(self.path),
            ) from error
        finally:
            for made in missing:
                with suppress(OSError):
                    made.rmdir()

    def manifest(self) -> dict[str, Any]:
        """Return manifest.json; raises SourceNotFound where this is no finished run's folder."""
        return self._json("manifest.json")

    def metrics(self) -> dict[str, Any]:
        """Return metrics.json; raises SourceNotFound where this is no finished run's folder."""
        return self._json("metrics.json")

    def relative(self, address: str) -> str:
        """Return an address below the folder relative to it, so that the folder can be moved."""
        if "://" in address:
            return address
        path = Path(address).expanduser().absolute()
        return str(path.relative_to(self.path) if path.is_relative_to(self.path) else path)

    def read_ledger(self) -> pa.Table:
        """Return the run's ledger; raises SourceNotFound where it is not there."""
        from streambt_spark.stores.ledger import read_ledger

        address = str(self.manifest()["ledger"])
        return read_ledger(address if "://" in address else str(self.path / address))

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file at once; NaN has no place in it."""
        text = json.dumps(content, indent=2, allow_nan=False, default=str)
        self._replace(name, text + "\n")

    def write_frame(self, name: str, frame: pd.DataFrame) -> None:
        """Write a frame of the result as CSV: ISO times in UTC, floats to the last digit.

        No text is a formula to a spreadsheet: one that a source could have smuggled in is quoted.
        """
        shown = frame[list(CSV_COLUMNS.get(name, frame.columns))].copy()
        for column in shown.columns:
            if shown[column].dtype.kind == "M":
                shown[column] = shown[column].map(_iso, na_action="ignore")
            elif shown[column].dtype.kind == "O":
                shown[column] = shown[column].map(_no_formula, na_action="ignore")
        self._replace(f"{name}.csv", shown.to_csv(index=False, lineterminator="\n"))

    def _replace(self, name: str, text: str) -> None:
        part = self.path / f".{name}.part"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8")
            part.replace(self.path / name)
        except OSError as error:
            raise OutputError(
                f"{self.path / name} cannot be written: {error.strerror or error}; free space "
                "there, or choose another --out",
                address=str(self.path / name),
            ) from error

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise SourceNotFound(
                f"{self.path} is no finished run's folder: it has no {name}; "
                "expected the --out of streambt run",
                address=str(path),
            ) from None
        except ValueError:
            raise SourceNotFound(
                f"{path} is damaged; run again into another folder", address=str(path)
            ) from None
        return content


def versions() -> dict[str, str]:
    """Return the versions of what a result can depend on."""
    own = {"streambt-spark": metadata.version("streambt-spark")}
    own["python"] = platform.python_version()
    return own | {name: metadata.version(name) for name in PACKAGES}


def _no_formula(text: object) -> object:
    from streambt_spark.core.market.bars import SYMBOL

    if isinstance(text, str) and text.startswith(_FORMULA) and not SYMBOL.fullmatch(text):
        return f"'{text}"
    return text


def _iso(moment: pd.Timestamp) -> str:
    return moment.isoformat().replace("+00:00", "Z")
