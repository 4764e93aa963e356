"""Plotly figures as plain JSON; a colour such as `$gain` is resolved by the page to its theme."""

from __future__ import annotations

import base64
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from streambt_spark.errors import ExtraMissing
from streambt_spark.report.series import thin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Figure = dict[str, Any]

LINE_POINTS = 4_000
"""Points of a line at most; a screen shows no more."""
PRICE_POINTS = 2_000
MARKERS = 2_000
"""Fills marked for each symbol at most."""
SYMBOLS = 40
"""Symbols with a price chart at most, those with the most fills."""


def equity_figure(
    ts: pd.DatetimeIndex,
    equity: NDArray[np.float64],
    held: NDArray[np.float64] | None,
    initial: float,
) -> Figure:
    """Return equity, against buy and hold where known, above its drawdown from the peak."""
    lines = [] if held is None else [_line("Buy and hold", ts, held, "$muted", 1.3)]
    lines.append(_line("Strategy", ts, equity, "$accent", 1.8))
    peak = np.maximum(np.maximum.accumulate(equity), initial)
    fall = np.divide(equity - peak, peak, out=np.zeros_like(equity), where=peak > 0)
    under = _line("Drawdown", ts, fall, "$loss", 1.2, hover="%{y:.2%}") | {
        "yaxis": "y2", "fill": "tozeroy", "fillcolor": "$lossfill", "showlegend": False,
    }  # fmt: skip
    return {
        "data": [*lines, under],
        "layout": {
            "yaxis": {"domain": [0.32, 1], "tickformat": ",.4~s", "title": {"text": "Equity"}},
            "yaxis2": {"domain": [0, 0.25], "tickformat": ".0%", "title": {"text": "Drawdown"}},
            "xaxis": {"type": "date", "anchor": "y2"},
        },
    }


def equity_plot(ts: pd.DatetimeIndex, equity: NDArray[np.float64], initial: float) -> Any:
    """Return equity above its drawdown as a figure of Plotly's own, for notebooks.

    Raises ExtraMissing without the `report` extra.
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise ExtraMissing(
            f"a plot needs {error.name}, which is not installed:"
            ' pip install "streambt-spark[report]"'
        ) from error
    figure = _plain(equity_figure(ts, equity, None, initial), _colours())
    return go.Figure(figure).update_layout(template="plotly_white", hovermode="x unified")


def price_figure(bars: pd.DataFrame, fills: pd.DataFrame, positions: pd.DataFrame) -> Figure:
    """Return one symbol's close with its fills above the position held."""
    ts, close = pd.DatetimeIndex(bars["ts"]), bars["close"].to_numpy(np.float64)
    line = _line("Close", ts, close, "$muted", 1.2, hover="%{y:,.6~g}", limit=PRICE_POINTS)
    sample = fills.iloc[_even(len(fills), MARKERS)]
    marks = [_marks(sample, side, colour) for side, colour in (("buy", "$gain"), ("sell", "$loss"))]
    return {
        "data": [line, *marks, _position(positions, ts)],
        "layout": {
            "yaxis": {"domain": [0.3, 1], "tickformat": ",", "title": {"text": "Price"}},
            "yaxis2": {"domain": [0, 0.22], "tickformat": ",.4~s", "title": {"text": "Position"}},
            "xaxis": {"type": "date", "anchor": "y2"},
        },
    }


def charted_symbols(prices: pd.DataFrame, fills: pd.DataFrame) -> list[str]:
    """Return the symbols to draw, those with the most fills first."""
    counts = fills["symbol"].value_counts()
    every = sorted(prices["symbol"].unique(), key=lambda name: (-int(counts.get(name, 0)), name))
    return every[:SYMBOLS]


def _line(
    name: str,
    ts: pd.DatetimeIndex,
    values: NDArray[np.float64],
    colour: str,
    width: float,
    *,
    hover: str = "%{y:,.2f}",
    limit: int = LINE_POINTS,
) -> Figure:
    rows = thin(values, limit)
    return {
        "type": "scatter", "mode": "lines", "name": name,
        "x": _packed(_millis(ts[rows])), "y": _packed(values[rows]),
        "line": {"color": colour, "width": width}, "hovertemplate": hover,
    }  # fmt: skip


def _marks(fills: pd.DataFrame, side: str, colour: str) -> Figure:
    rows = fills[fills["side"] == side]
    return {
        "type": "scatter", "mode": "markers", "name": side.capitalize(),
        "x": _packed(_millis(rows["ts"])),
        "y": _packed(rows["price"].to_numpy(np.float64)),
        "customdata": rows["quantity"].astype(float).tolist(),
        "hovertemplate": "%{customdata:,.8~g} at %{y:,.6~g}",
        "marker": {
            "symbol": "triangle-up" if side == "buy" else "triangle-down",
            "size": 9, "color": colour, "line": {"width": 1, "color": "$card"},
        },
    }  # fmt: skip


def _position(positions: pd.DataFrame, span: pd.DatetimeIndex) -> Figure:
    """Return the position as steps from the first bar to the last."""
    rows = positions.iloc[_even(len(positions), PRICE_POINTS)]
    quantity = rows["quantity"].to_numpy(np.float64)
    quantity = np.concatenate(([0.0], quantity, quantity[-1:] if len(quantity) else [0.0]))
    ts = np.concatenate((_millis(span[:1]), _millis(rows["ts"]), _millis(span[-1:])))
    return {
        "type": "scatter", "mode": "lines", "name": "Position", "yaxis": "y2", "showlegend": False,
        "x": _packed(ts), "y": _packed(quantity), "hovertemplate": "%{y:,.8~g}",
        "line": {"color": "$accent", "width": 1.2, "shape": "hv"},
        "fill": "tozeroy", "fillcolor": "$accentfill",
    }  # fmt: skip


def _even(count: int, limit: int) -> NDArray[np.intp]:
    """Return at most `limit` indices spread evenly over `count`, the first and last included."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).astype(np.intp))


def _millis(ts: pd.DatetimeIndex | pd.Series) -> NDArray[np.float64]:
    return pd.DatetimeIndex(ts).as_unit("ms").asi8.astype(np.float64)


def _packed(values: NDArray[np.float64]) -> dict[str, str]:
    """Return an array as Plotly's typed array, a third of the size of decimal text."""
    return {"dtype": "f8", "bdata": base64.b64encode(values.astype("<f8").tobytes()).decode()}


def _colours() -> dict[str, str]:
    """Return the colours of the page's light theme by their names."""
    css = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    light = css.partition("}")[0]
    return {f"${name}": value for name, value in re.findall(r"--([\w-]+): ([^;]+);", light)}


def _plain(value: Any, colours: Mapping[str, str]) -> Any:
    """Return a figure with colours and numbers in place of their names and bytes."""
    if isinstance(value, str):
        return colours.get(value, value)
    if isinstance(value, list):
        return [_plain(item, colours) for item in value]
    if not isinstance(value, dict):
        return value
    if "bdata" in value:
        return np.frombuffer(base64.b64decode(value["bdata"]), "<f8")
    plain = {name: _plain(item, colours) for name, item in value.items()}
    if isinstance(plain.get("x"), np.ndarray):
        plain["x"] = plain["x"].astype("datetime64[ms]")
    return plain
