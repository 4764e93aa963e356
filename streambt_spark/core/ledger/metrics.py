"""Performance figures of one account, with every convention stated and undefined ones None.

Returns are simple, from one session's end to the next, the first one against the initial cash.
The definitions are those of empyrical: sample deviation (ddof 1), annualised by √AF with AF periods
a year; the risk-free rate and the required return are zero. All is made of an account's `summary`,
so a run that kept no ledger has the same figures as one that did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from streambt_spark.core.ledger.summary import exact, total

CONVENTIONS = {
    "returns": "simple, session end to session end, the first against the initial cash",
    "annual_return": "compound: (final / initial) ** (periods_per_year / periods) - 1",
    "volatility": "sample standard deviation (ddof 1) times sqrt(periods_per_year)",
    "sharpe": "mean return / sample standard deviation times sqrt(periods_per_year); no risk-free",
    "sortino": "mean return times periods_per_year / annualised downside deviation of all periods",
    "calmar": "annual return / |max drawdown|",
    "max_drawdown": "deepest fall of session-end equity below its peak, the initial cash included",
    "drawdown_length": "from the peak of that drawdown to the recovery, or to the end without one",
    "turnover": "half the traded value / mean session-end equity, per year",
    "time_in_market": "share of slices that end with a position",
    "average_exposure": "mean of gross position value / equity over all slices",
    "trades": "closed round trips, first in first out, net of commission",
    "undefined": "null",
}
"""What each figure means, for the output's reader."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """The figures; money in cents, times in UTC microseconds, ratios as fractions (0.1 is 10 %)."""

    periods_per_year: float
    calendar: str
    periods: int
    start: int | None
    end: int | None
    initial: int
    final: int
    net_profit: int
    total_return: float | None
    annual_return: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float | None
    max_drawdown_peak: int | None
    max_drawdown_trough: int | None
    max_drawdown_recovery: int | None  # None where the peak was not reached again
    max_drawdown_periods: int | None
    max_drawdown_duration: int | None  # microseconds
    turnover: float | None
    time_in_market: float | None
    average_exposure: float | None
    fills: int
    total_commission: int
    trades: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None  # cents a trade
    average_win: float | None
    average_loss: float | None  # negative
    average_holding: float | None  # microseconds
    best_trade: int | None
    worst_trade: int | None

    def as_dict(self, minor_units: int = 100) -> dict[str, object]:
        """Return the figures ready for JSON: currency units, ISO times, days; with conventions.

        `minor_units` is how many the currency's unit has.
        """
        figures = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in MONEY:
            figures[name] = _scaled(figures[name], minor_units)
        for name in TIMES:
            figures[name] = _iso(figures[name])
        for name in DURATIONS:
            figures[f"{name}_days"] = _scaled(figures.pop(name), _DAY_US)
        return figures | {"conventions": dict(CONVENTIONS)}


_DAY_US = 86_400_000_000
MONEY = (
    "initial", "final", "net_profit", "total_commission", "expectancy", "average_win",
    "average_loss", "best_trade", "worst_trade",
)  # fmt: skip
TIMES = ("start", "end", "max_drawdown_peak", "max_drawdown_trough", "max_drawdown_recovery")
DURATIONS = ("max_drawdown_duration", "average_holding")


FIGURES = tuple(
    f"{f.name}_days" if f.name in DURATIONS else f.name
    for f in fields(Metrics)
    if f.name != "calendar"
)
"""The names of the numbers and times in `Metrics.as_dict`."""


def measure(summary: np.void, *, periods_per_year: float, calendar: str) -> Metrics:
    """Return the figures of a finished summary.

    Once the equity at a session's end is zero or less, returns mean nothing: the figures made from
    them are None, total return and drawdown not.
    """
    initial, final = int(summary["initial"]), int(summary["before"])
    periods, slices = int(summary["periods"]), int(summary["slices"])
    annual = _annual_return(summary, periods_per_year)
    fall = _drawdown(summary)
    return Metrics(
        periods_per_year=periods_per_year,
        calendar=calendar,
        periods=periods,
        start=int(summary["start"]) if slices else None,
        end=int(summary["ts"]) if slices else None,
        initial=initial,
        final=final,
        net_profit=final - initial,
        total_return=final / initial - 1 if periods else None,
        annual_return=annual,
        calmar=_ratio(annual, None if fall.max_drawdown is None else -fall.max_drawdown),
        turnover=_turnover(summary, periods_per_year),
        time_in_market=_ratio(int(summary["in_market"]), slices),
        average_exposure=_ratio(total(summary, "exposure"), int(summary["solvent"])),
        fills=int(summary["fills"]),
        total_commission=exact(summary, "commissions"),
        **_risk(summary, periods_per_year)._asdict(),
        **fall._asdict(),
        **_trade_figures(summary)._asdict(),
    )


class _Risk(NamedTuple):
    volatility: float | None
    sharpe: float | None
    sortino: float | None


class _Drawdown(NamedTuple):
    max_drawdown: float | None
    max_drawdown_peak: int | None = None
    max_drawdown_trough: int | None = None
    max_drawdown_recovery: int | None = None
    max_drawdown_periods: int | None = None
    max_drawdown_duration: int | None = None


class _TradeFigures(NamedTuple):
    trades: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None
    average_win: float | None
    average_loss: float | None
    average_holding: float | None
    best_trade: int | None
    worst_trade: int | None


def _annual_return(summary: np.void, periods_per_year: float) -> float | None:
    """Return the compound annual return from the initial cash to the last session's end."""
    periods = int(summary["periods"])
    if periods < 1 or summary["ruined"]:
        return None
    whole = int(summary["before"]) / int(summary["initial"])
    try:
        growth: float = whole ** (periods_per_year / periods)
    except OverflowError:
        return None
    return growth - 1


def _risk(summary: np.void, periods_per_year: float) -> _Risk:
    """Return annualised volatility, Sharpe and Sortino; a spread needs two returns."""
    periods = int(summary["periods"])
    if periods < 2 or summary["ruined"]:
        return _Risk(None, None, None)
    mean = total(summary, "returns") / periods
    excess = total(summary, "excess")
    spread = (total(summary, "squares") - excess * excess / periods) / (periods - 1)
    deviation = math.sqrt(max(spread, 0.0))
    downside = math.sqrt(total(summary, "downside") / periods)
    root = math.sqrt(periods_per_year)
    return _Risk(deviation * root, _ratio(mean * root, deviation), _ratio(mean * root, downside))


def _drawdown(summary: np.void) -> _Drawdown:
    """Return the deepest fall below the running peak; without a recovery it lasts to the end."""
    if not summary["periods"]:
        return _Drawdown(None)
    if summary["fall"] == 0:
        return _Drawdown(0.0, max_drawdown_periods=0, max_drawdown_duration=0)
    recovered = bool(summary["recovered"])
    until = int(summary["recovery_ts" if recovered else "ts"])
    last = int(summary["recovery_period" if recovered else "periods"])
    return _Drawdown(
        max_drawdown=float(summary["fall"]),
        max_drawdown_peak=int(summary["fall_peak_ts"]),
        max_drawdown_trough=int(summary["trough_ts"]),
        max_drawdown_recovery=until if recovered else None,
        max_drawdown_periods=last - int(summary["fall_peak_period"]),
        max_drawdown_duration=until - int(summary["fall_peak_ts"]),
    )


def _turnover(summary: np.void, periods_per_year: float) -> float | None:
    """Return half the traded value over the mean session-end equity, per year."""
    periods = int(summary["periods"])
    mean = _ratio(exact(summary, "equities"), periods)
    if mean is None or mean <= 0:
        return None
    return exact(summary, "traded") / 2 / mean * (periods_per_year / periods)


def _trade_figures(summary: np.void) -> _TradeFigures:
    """Return the figures of the closed round trips."""
    trades, wins, losses = (int(summary[name]) for name in ("trades", "wins", "losses"))
    won, lost = exact(summary, "won"), exact(summary, "lost")
    return _TradeFigures(
        trades=trades,
        win_rate=_ratio(wins, trades),
        profit_factor=_ratio(won, -lost),
        expectancy=_ratio(won + lost, trades),
        average_win=_ratio(won, wins),
        average_loss=_ratio(lost, losses),
        average_holding=_ratio(exact(summary, "held"), trades),
        best_trade=int(summary["best"]) if trades else None,
        worst_trade=int(summary["worst"]) if trades else None,
    )


def _ratio(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else value / by


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value / by


def _iso(ts: int | None) -> str | None:
    return None if ts is None else f"{np.datetime64(ts, 'us').item():%Y-%m-%dT%H:%M:%SZ}"
