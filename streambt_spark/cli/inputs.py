"""What commands read: settings that must be there, times, and the bars of a file or snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streambt_spark.errors import ConfigError, NoData

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from streambt_spark.cerebro import Data
    from streambt_spark.settings import Settings
    from streambt_spark.stores.intake import Counts

CHARTED_BARS = 1_000_000
"""More bars than these are not read into memory for the report's price charts."""


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """Bars ready to run: `quarantine` are the refused rows, `source` says where all came from.

    `data` is a snapshot where that is taken whole, so that it need not fit into memory, and a
    universe (with no digest) where the bars are live.
    """

    data: Data
    rows: int
    digest: str
    source: str
    counts: Counts
    quarantine: pa.Table | None = None

    def prices(self) -> pd.DataFrame | None:
        """Return symbol, ts and close of every bar; None where they are too many, or live."""
        import numpy as np
        import pandas as pd

        from streambt_spark.cerebro import Universe
        from streambt_spark.core.market.bars import Bars

        if self.rows > CHARTED_BARS or isinstance(self.data, Universe):
            return None
        bars = self.data if isinstance(self.data, Bars) else self.data.bars()
        return pd.DataFrame(
            {
                "symbol": np.array(bars.symbols, dtype=object)[bars.code],
                "ts": pd.to_datetime(bars.ts, unit="us", utc=True),
                "close": bars.close,
            }
        )


def require(value: str | None, option: str, expected: str) -> str:
    """Return a setting that a command cannot do without; raises ConfigError where it is missing."""
    if not value:
        raise ConfigError(f"{option} is not given; expected {expected}", option=option)
    return value


def bars_path(settings: Settings) -> str:
    """Return the file of bars; raises ConfigError where it is not given."""
    return require(settings.data.bars, "FILE", "a CSV (also .gz) or Parquet file of bars")


def reading(settings: Settings) -> dict[str, Any]:
    """Return how a file of bars is read, as the stores take it."""
    data = settings.data
    return {
        "interval": interval_of(settings),
        "columns": data.columns,
        "tz": data.tz,
        "symbols": data.symbols or None,
        "allow_rejected": data.allow_rejected,
    }


def interval_of(settings: Settings) -> str:
    """Return the bars' interval; raises ConfigError where it is not given."""
    return require(settings.data.interval, "--interval", "the bars' interval: 1m, 15m, 1h or 1d")


def read_input(settings: Settings) -> Input:
    """Return the bars of --bars or --snapshot, of the wanted symbols and times.

    Raises ConfigError where neither or both are given, and the errors of the stores.
    """
    data = settings.data
    if (data.bars is None) == (data.snapshot is None):
        many = "neither" if data.bars is None else "both"
        raise ConfigError(
            f"{many} of --bars FILE and --snapshot ADDRESS given; expected one", option="--bars"
        )
    return _read_snapshot(settings) if data.bars is None else _read_file(settings, data.bars)


def time_range(settings: Settings, interval: str) -> tuple[int | None, int | None]:
    """Return --start and --end as UTC microseconds; raises ConfigError for what is no time."""
    start = _time(settings, "--start", settings.data.start, interval)
    end = _time(settings, "--end", settings.data.end, interval)
    if start is not None and end is not None and start >= end:
        raise ConfigError(
            f"--start {settings.data.start} is not before --end {settings.data.end}; expected an "
            "earlier one",
            option="--start",
        )
    return start, end


def _time(settings: Settings, option: str, text: str | None, interval: str) -> int | None:
    if text is None:
        return None
    import pyarrow as pa

    from streambt_spark.core.market.bars import DAY_US, interval_us
    from streambt_spark.stores.times import NAT, parse_times, zone

    daily = interval_us(interval) % DAY_US == 0
    column = pa.array([text])
    ts = int(parse_times(column, zone(settings.data.tz), session=False, daily=daily)[0])
    if ts == NAT:
        raise ConfigError(
            f"{option}: found {text!r}, expected a time such as 2024-01-31T09:30Z", option=option
        )
    return ts


def _read_snapshot(settings: Settings) -> Input:
    from streambt_spark.core.market.bars import symbol_names
    from streambt_spark.stores.intake import Counts
    from streambt_spark.stores.lake import open_snapshot

    snapshot = open_snapshot(settings.data.snapshot or "")
    start, end = time_range(settings, snapshot.interval)
    if start is None and end is None and not settings.data.symbols:
        counts = Counts(snapshot.rows, snapshot.rows)
        return Input(snapshot, snapshot.rows, snapshot.digest, snapshot.path, counts)
    wanted = symbol_names(settings.data.symbols)
    if missing := sorted(set(wanted) - set(snapshot.symbols)):
        held = ", ".join(snapshot.symbols[:20]) + (", …" if len(snapshot.symbols) > 20 else "")
        raise NoData(
            f"snapshot {snapshot.path} has no bars of {', '.join(missing)}; it has {held}",
            symbol=missing[0],
            address=snapshot.path,
        )
    bars = snapshot.bars(start, end, wanted or None)
    counts = Counts(len(bars), len(bars))
    return Input(bars, len(bars), bars.digest(), snapshot.path, counts)


def _read_file(settings: Settings, path: str) -> Input:
    from streambt_spark.stores.intake import intake

    start, end = time_range(settings, interval_of(settings))
    read = intake(path, start=start, end=end, **reading(settings))
    bars = read.bars
    return Input(bars, len(bars), bars.digest(), path, read.counts, read.quarantine)
