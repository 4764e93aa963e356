"""Performance figures of one account, with every convention stated and undefined ones None.

Returns are simple, from one session's end to the next, the first one against the initial cash.
The definitions are those of empyrical: sample deviation (ddof 1), annualised by √AF with AF periods
a year; the risk-free rate and the required return are zero. Sums are exactly rounded, so no figure
depends on the order of a summation or on the machine's vector width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streambt_spark.core.ledger.trades import Fills, Trades

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


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """An account over its T slices, ascending in time."""

    ts: NDArray[np.int64]  # UTC microseconds
    equity: NDArray[np.int64]  # cents
    exposure: NDArray[np.int64]  # cents, gross value of the positions

    def __len__(self) -> int:
        return len(self.ts)


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
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in _MONEY:
            shown[name] = _scaled(shown[name], minor_units)
        for name in _TIMES:
            shown[name] = _iso(shown[name])
        for name in _DURATIONS:
            shown[f"{name}_days"] = _scaled(shown.pop(name), _DAY_US)
        return shown | {"conventions": dict(CONVENTIONS)}


_DAY_US = 86_400_000_000
_MONEY = (
    "initial", "final", "net_profit", "total_commission", "expectancy", "average_win",
    "average_loss", "best_trade", "worst_trade",
)  # fmt: skip
_TIMES = ("start", "end", "max_drawdown_peak", "max_drawdown_trough", "max_drawdown_recovery")
_DURATIONS = ("max_drawdown_duration", "average_holding")


def compute(
    curve: Curve,
    ends: NDArray[np.intp],
    trades: Trades,
    fills: Fills,
    *,
    initial: int,
    periods_per_year: float,
    calendar: str,
) -> Metrics:
    """Return the figures of an account.

    `ends` are the ascending indices of the last slice of each session in `curve`, `initial` the
    cash in cents before the first slice (positive). Once the equity at a session's end is zero or
    less, returns mean nothing: the figures made from them are None, total return and drawdown not.
    """
    equity = np.concatenate((np.array([initial]), curve.equity[ends]))
    annual = _annual_return(equity, periods_per_year)
    fall = _drawdown(np.concatenate((curve.ts[:1], curve.ts[ends])), equity)
    return Metrics(
        periods_per_year=periods_per_year,
        calendar=calendar,
        periods=len(ends),
        start=int(curve.ts[0]) if len(curve) else None,
        end=int(curve.ts[-1]) if len(curve) else None,
        initial=initial,
        final=int(equity[-1]),
        net_profit=int(equity[-1]) - initial,
        total_return=int(equity[-1]) / initial - 1 if len(ends) else None,
        annual_return=annual,
        calmar=_ratio(annual, None if fall.max_drawdown is None else -fall.max_drawdown),
        turnover=_turnover(fills.traded_value(), equity[1:], periods_per_year),
        time_in_market=_mean(curve.exposure > 0),
        average_exposure=_average_exposure(curve),
        fills=len(fills),
        total_commission=int(fills.commission.sum()),
        **_risk(equity, periods_per_year)._asdict(),
        **fall._asdict(),
        **_trade_figures(trades)._asdict(),
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


def _annual_return(equity: NDArray[np.int64], periods_per_year: float) -> float | None:
    """Return the compound annual return of equity [initial, end of session 1, …]."""
    periods = len(equity) - 1
    if periods < 1 or equity.min() <= 0:
        return None
    try:
        growth: float = (int(equity[-1]) / int(equity[0])) ** (periods_per_year / periods)
    except OverflowError:
        return None
    return growth - 1


def _risk(equity: NDArray[np.int64], periods_per_year: float) -> _Risk:
    """Return annualised volatility, Sharpe and Sortino of equity [initial, end of session 1, …]."""
    if len(equity) < 3 or equity.min() <= 0:
        return _Risk(None, None, None)
    returns = np.diff(equity) / equity[:-1]
    mean = math.fsum(returns) / len(returns)
    spread = math.fsum((returns - mean) ** 2) / (len(returns) - 1)
    # Equal returns differ from their own mean in the last bit; that is no variance.
    deviation = 0.0 if returns.min() == returns.max() else math.sqrt(spread)
    downside = math.sqrt(math.fsum(np.minimum(returns, 0.0) ** 2) / len(returns))
    root = math.sqrt(periods_per_year)
    return _Risk(deviation * root, _ratio(mean * root, deviation), _ratio(mean * root, downside))


def _drawdown(ts: NDArray[np.int64], equity: NDArray[np.int64]) -> _Drawdown:
    """Return the deepest fall below the running peak, and when it began, turned and recovered.

    Of equally deep falls the first counts. Without a recovery its length runs to the end.
    """
    if len(equity) < 2:
        return _Drawdown(None)
    peaks = np.maximum.accumulate(equity)
    falls = (equity - peaks) / peaks
    trough = int(falls.argmin())
    if falls[trough] == 0:
        return _Drawdown(0.0, max_drawdown_periods=0, max_drawdown_duration=0)
    peak = int(np.flatnonzero(falls[:trough] == 0)[-1])
    later = np.flatnonzero(falls[trough:] == 0)
    until = trough + int(later[0]) if len(later) else len(ts) - 1
    return _Drawdown(
        max_drawdown=float(falls[trough]),
        max_drawdown_peak=int(ts[peak]),
        max_drawdown_trough=int(ts[trough]),
        max_drawdown_recovery=int(ts[until]) if len(later) else None,
        max_drawdown_periods=until - peak,
        max_drawdown_duration=int(ts[until] - ts[peak]),
    )


def _turnover(traded: int, equity: NDArray[np.int64], periods_per_year: float) -> float | None:
    """Return half the traded value over the mean equity, per year."""
    mean = _mean(equity)
    if mean is None or mean <= 0:
        return None
    return traded / 2 / mean * (periods_per_year / len(equity))


def _average_exposure(curve: Curve) -> float | None:
    """Return the mean gross exposure over equity, over the slices with equity left."""
    solvent = curve.equity > 0
    return _mean(curve.exposure[solvent] / curve.equity[solvent])


def _trade_figures(trades: Trades) -> _TradeFigures:
    """Return the figures of the closed round trips."""
    pnl = trades.pnl
    wins, losses = pnl[pnl > 0], pnl[pnl < 0]
    return _TradeFigures(
        trades=len(trades),
        win_rate=_mean(pnl > 0),
        profit_factor=_ratio(float(wins.sum()), -float(losses.sum())),
        expectancy=_mean(pnl),
        average_win=_mean(wins),
        average_loss=_mean(losses),
        average_holding=_mean(trades.held),
        best_trade=int(pnl.max()) if len(pnl) else None,
        worst_trade=int(pnl.min()) if len(pnl) else None,
    )


def _mean(values: NDArray[np.generic]) -> float | None:
    listed: Sequence[float] = values.tolist()
    return math.fsum(listed) / len(listed) if listed else None


def _ratio(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else value / by


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value / by


def _iso(ts: int | None) -> str | None:
    return None if ts is None else f"{np.datetime64(ts, 'us').item():%Y-%m-%dT%H:%M:%SZ}"
