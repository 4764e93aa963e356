"""The page: figures and tables laid out in one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from streambt_spark.errors import ExtraMissing, OutputError
from streambt_spark.report import charts, text
from streambt_spark.report.series import buy_and_hold, monthly_returns

if TYPE_CHECKING:
    from collections.abc import Callable

    from streambt_spark.report.data import ReportData

TRADES = 500
"""Trades listed at most, the latest."""

_FILES = resources.files(__package__)
_HEAT_FULL = np.array([0.10] * 12 + [0.30])
"""The return of a month, and of a year, that gets the full colour."""

_Row = tuple[str, str, "Callable[[object], str]"]
_KPIS: tuple[_Row, ...] = (
    ("Total return", "total_return", text.signed_percent),
    ("Annual return", "annual_return", text.signed_percent),
    ("Volatility", "volatility", text.percent),
    ("Sharpe", "sharpe", text.number),
    ("Max drawdown", "max_drawdown", text.percent),
    ("Trades", "trades", partial(text.number, digits=0)),
    ("Win rate", "win_rate", partial(text.percent, digits=1)),
)
_METRICS: tuple[tuple[str, tuple[_Row, ...]], ...] = (
    (
        "Account",
        (
            ("Start cash", "initial", text.number),
            ("Final equity", "final", text.number),
            ("Net profit", "net_profit", text.signed),
            ("Total return", "total_return", text.signed_percent),
            ("Annual return", "annual_return", text.signed_percent),
        ),
    ),
    (
        "Risk",
        (
            ("Volatility", "volatility", text.percent),
            ("Sharpe", "sharpe", text.number),
            ("Sortino", "sortino", text.number),
            ("Calmar", "calmar", text.number),
            ("Average exposure", "average_exposure", text.percent),
        ),
    ),
    (
        "Drawdown",
        (
            ("Max drawdown", "max_drawdown", text.percent),
            ("Peak", "max_drawdown_peak", text.moment),
            ("Trough", "max_drawdown_trough", text.moment),
            ("Recovered", "max_drawdown_recovery", text.moment),
            ("Length, sessions", "max_drawdown_periods", partial(text.number, digits=0)),
            ("Length", "max_drawdown_duration_days", text.days),
        ),
    ),
    (
        "Activity",
        (
            ("Time in market", "time_in_market", text.percent),
            ("Turnover a year", "turnover", text.percent),
            ("Fills", "fills", partial(text.number, digits=0)),
            ("Commission", "total_commission", text.number),
        ),
    ),
    (
        "Trades",
        (
            ("Closed trades", "trades", partial(text.number, digits=0)),
            ("Win rate", "win_rate", text.percent),
            ("Profit factor", "profit_factor", text.number),
            ("Average holding", "average_holding_days", text.days),
        ),
    ),
    (
        "Profit a trade",
        (
            ("Expectancy", "expectancy", text.signed),
            ("Average win", "average_win", text.signed),
            ("Average loss", "average_loss", text.signed),
            ("Best", "best_trade", text.signed),
            ("Worst", "worst_trade", text.signed),
        ),
    ),
)


def render(data: ReportData, path: str | os.PathLike[str]) -> Path:
    """Write the report as one HTML file, in one step, and return its path.

    Raises ExtraMissing without the `report` extra, OutputError where the file cannot be written.
    """
    path = Path(path)
    page = _html(data)
    partial_file = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial_file.write_text(page, encoding="utf-8")
        partial_file.replace(path)
    except OSError as error:
        partial_file.unlink(missing_ok=True)
        raise OutputError(
            f"the report {path} cannot be written: {error.strerror};"
            " name a file in an existing, writable folder"
        ) from error
    return path


def _html(data: ReportData) -> str:
    try:
        import jinja2
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ExtraMissing(
            f"a report needs {error.name}, which is not installed:"
            ' pip install "streambt-spark[report]"'
        ) from error
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(text, name)
        for name in ("number", "signed", "signed_percent", "quantity", "price", "moment", "days")
    }
    return environment.from_string(_file("page.html")).render(
        **_content(data),
        style=_file("page.css"),
        script=_file("page.js"),
        plotly=get_plotlyjs(),
    )


def _file(name: str) -> str:
    return _FILES.joinpath(name).read_text(encoding="utf-8")


def _content(data: ReportData) -> dict[str, Any]:
    """Return what the template shows."""
    equity = data.of_lane("equity")
    trades = data.of_lane("trades").sort_values("exit_ts", kind="stable")
    ts, values = pd.DatetimeIndex(equity["ts"]), equity["equity"].to_numpy(np.float64)
    initial = float(str(data.metrics.get("initial") or (values[0] if len(values) else 0.0)))
    held = None
    if data.prices is not None and len(data.prices) and len(ts):
        held = buy_and_hold(data.prices, ts, initial)
    return {
        "data": data,
        "run": data.manifest,
        "facts": _facts(data, ts),
        "kpis": _texts(_KPIS, data.metrics),
        "groups": [(title, _texts(rows, data.metrics)) for title, rows in _METRICS],
        "held_return": None if held is None else held[-1] / initial - 1,
        "months": _months(equity.set_index("ts")["equity"], initial) if len(ts) else [],
        "trades": trades.iloc[::-1].head(TRADES).to_dict("records"),
        "trade_count": len(trades),
        "orders": _order_counts(data.of_lane("orders")),
        "counts": [(k, text.number(v, 0)) for k, v in _mapping(data.manifest, "counts").items()],
        "settings": list(text.flatten(_mapping(data.manifest, "settings"))),
        "versions": list(text.flatten(_mapping(data.manifest, "versions"))),
        "conventions": list(text.flatten(_mapping(data.metrics, "conventions"))),
        "figures": _figures(data, ts, values, held, initial),
        "line_points": charts.LINE_POINTS,
        "price_points": charts.PRICE_POINTS,
        "markers": charts.MARKERS,
        "charted": charts.SYMBOLS,
        "symbol_count": 0 if data.prices is None else data.prices["symbol"].nunique(),
    }


def _facts(data: ReportData, ts: pd.DatetimeIndex) -> list[tuple[str, str]]:
    """Return what the run was, as (name, text)."""
    run = data.manifest
    start = run.get("start") or (ts[0] if len(ts) else None)
    end = run.get("end") or (ts[-1] if len(ts) else None)
    bars = _mapping(run, "bars").get("rows") or (None if data.prices is None else len(data.prices))
    symbols = [] if data.prices is None else sorted(data.prices["symbol"].unique())
    return [
        ("Data", f"{text.moment(start)} to {text.moment(end)}"),
        ("Bars", text.number(bars, 0)),
        ("Symbols", f"{len(symbols)}" if len(symbols) > 8 else ", ".join(symbols) or text.NONE),
        ("Interval", str(run.get("interval") or text.NONE)),
        ("Calendar", str(data.metrics.get("calendar") or text.NONE)),
        ("Engine", str(run.get("engine") or text.NONE)),
        ("Lane", data.lane),
        *((str(name), str(value)) for name, value in data.label.items()),
        ("Run", str(run.get("run_id") or text.NONE)),
    ]


def _texts(rows: tuple[_Row, ...], metrics: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(label, as_text(metrics.get(name))) for label, name, as_text in rows]


def _months(equity: pd.Series, initial: float) -> list[tuple[int, list[tuple[str, float]]]]:
    """Return (year, cells) of the heat map, a cell its text and its colour from -1 to 1."""
    table = monthly_returns(equity, initial)
    return [
        (int(year), list(map(_cell, row, np.clip(row / _HEAT_FULL, -1, 1))))
        for year, row in zip(table.index, table.to_numpy(np.float64), strict=True)
    ]


def _cell(value: float, heat: float) -> tuple[str, float]:
    return ("", 0.0) if np.isnan(value) else (text.number(float(value) * 100, 1), float(heat))


def _order_counts(orders: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the number of orders by status, and of the rejected ones by reason."""
    kinds = orders["status"].astype(str)
    refused = orders["reason"].notna() & (kinds == "rejected")
    kinds = kinds.mask(refused, kinds + ": " + orders["reason"].astype(str).str.replace("_", " "))
    return [(str(k), text.number(int(n), 0)) for k, n in kinds.value_counts().items()]


def _figures(
    data: ReportData,
    ts: pd.DatetimeIndex,
    equity: np.ndarray[Any, np.dtype[np.float64]],
    held: np.ndarray[Any, np.dtype[np.float64]] | None,
    initial: float,
) -> Any:
    """Return the figures as JSON that is safe inside a script element."""
    from markupsafe import Markup

    figures: dict[str, Any] = {"symbols": [], "price": []}
    figures["equity"] = charts.equity_figure(ts, equity, held, initial) if len(ts) else None
    if data.prices is not None and len(data.prices):
        fills, positions = data.of_lane("fills"), data.of_lane("positions")
        bars = dict(tuple(data.prices.sort_values("ts").groupby("symbol")))
        for symbol in charts.charted_symbols(data.prices, fills):
            own = fills[fills["symbol"] == symbol]
            held_own = positions[positions["symbol"] == symbol]
            figures["price"].append(charts.price_figure(bars[symbol], own, held_own))
            figures["symbols"].append([symbol, len(own)])
    safe = json.dumps(figures, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        safe = safe.replace(character, f"\\u{ord(character):04x}")
    return Markup(safe)  # noqa: S704 - JSON with every markup character escaped


def _mapping(of: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = of.get(name)
    return value if isinstance(value, Mapping) else {}
