"""Metrics: hand-computed cases, empyrical as the oracle on real closes, and what is undefined."""

from __future__ import annotations

import gzip
import json
import math
import warnings
from pathlib import Path

import empyrical
import numpy as np
import pytest

from streambt_spark.core.ledger import metrics
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.metrics import Curve, Metrics
from streambt_spark.core.ledger.trades import Fills, match_fills

DAY = 86_400_000_000
DAILY = Path(__file__).parents[2].parent / "shared" / "market" / "us_daily.csv.gz"


def no_fills() -> Fills:
    """Return no fills."""
    return Fills.of(Events.empty(), 0)


def measure(
    equity: list[int] | np.ndarray,
    *,
    initial: int = 10_000,
    fills: Fills | None = None,
    exposure: list[int] | None = None,
    ends: list[int] | None = None,
    periods_per_year: float = 252,
) -> Metrics:
    """Return the metrics of one slice a day, every slice a session's end unless told."""
    count = len(equity)
    curve = Curve(
        ts=np.arange(count, dtype=np.int64) * DAY,
        equity=np.array(equity, np.int64),
        exposure=np.array(exposure or [0] * count, np.int64),
    )
    fills = fills or no_fills()
    return metrics.compute(
        curve,
        np.array(range(count) if ends is None else ends, np.intp),
        match_fills(fills)[0],
        fills,
        initial=initial,
        periods_per_year=periods_per_year,
        calendar="XNYS",
    )


def round_trips(*pnl: int) -> Fills:
    """Return fills of one share a day, bought at 100 and sold a day later, 50 cents each way."""
    count = len(pnl)
    amount = np.full(2 * count, -10_050, np.int64)
    amount[1::2] = 10_050 + np.array(pnl)
    return Fills(
        ts=np.arange(2 * count, dtype=np.int64) * DAY,
        symbol=np.zeros(2 * count, np.int32),
        side=np.tile(np.array([1, -1], np.int8), count),
        quantity=np.ones(2 * count),
        price=np.full(2 * count, 100.0),
        commission=np.full(2 * count, 50, np.int64),
        amount=amount,
    )


def closes(symbol: str) -> np.ndarray:
    """Return the real closes of a symbol in cents, or skip."""
    if not DAILY.exists():
        pytest.skip(f"no market data at {DAILY.name}")
    with gzip.open(DAILY, "rt") as lines:
        rows = [line.split(",") for line in lines]
    return np.array([round(float(row[5]) * 100) for row in rows if row[0] == symbol], np.int64)


def test_hand_computed_returns() -> None:
    """100, 110, 99: +10 % and -10 %, against the initial cash of 100."""
    found = measure([11_000, 9_900], periods_per_year=4)
    assert found.total_return == 9_900 / 10_000 - 1
    assert found.annual_return == (9_900 / 10_000) ** 2 - 1
    assert found.volatility == pytest.approx(math.sqrt(0.02) * 2, abs=1e-12)
    assert found.sharpe == pytest.approx(0.0, abs=1e-12)
    assert found.max_drawdown == pytest.approx(-0.1, abs=1e-15)
    assert found.net_profit == -100


@pytest.mark.parametrize("symbol", ["SPY", "AAPL", "AIG"])
@pytest.mark.parametrize("periods_per_year", [252, 365, 52])
def test_equals_empyrical(symbol: str, periods_per_year: int) -> None:
    """On 23 years of real closes every shared figure is empyrical's to 1e-9."""
    equity = closes(symbol)
    found = measure(equity[1:], initial=int(equity[0]), periods_per_year=periods_per_year)
    returns = np.diff(equity) / equity[:-1]
    options = {"annualization": periods_per_year}
    expected = {
        "total_return": empyrical.cum_returns_final(returns),
        "annual_return": empyrical.annual_return(returns, **options),
        "volatility": empyrical.annual_volatility(returns, **options),
        "sharpe": empyrical.sharpe_ratio(returns, **options),
        "sortino": empyrical.sortino_ratio(returns, **options),
        "calmar": empyrical.calmar_ratio(returns, **options),
        "max_drawdown": empyrical.max_drawdown(returns),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(float(value), rel=1e-9), name


def test_drawdown_with_recovery() -> None:
    """The fall from 120 on day 1 to 60 on day 3 is made good on day 5: four periods."""
    found = measure([11_000, 12_000, 9_000, 6_000, 10_000, 12_000, 11_000])
    assert found.max_drawdown == -0.5
    assert found.max_drawdown_peak == DAY
    assert found.max_drawdown_trough == 3 * DAY
    assert found.max_drawdown_recovery == 5 * DAY
    assert (found.max_drawdown_periods, found.max_drawdown_duration) == (4, 4 * DAY)


def test_drawdown_from_initial_cash_without_recovery() -> None:
    """A fall from the initial cash starts before the first session and lasts to the end."""
    found = measure([9_000, 8_000, 9_500])
    assert found.max_drawdown == pytest.approx(-0.2, abs=1e-15)
    assert (found.max_drawdown_peak, found.max_drawdown_recovery) == (0, None)
    assert (found.max_drawdown_periods, found.max_drawdown_duration) == (3, 2 * DAY)


def test_only_session_ends_make_returns() -> None:
    """Equity inside a session changes no return; the exposure counts every slice."""
    exposure = [0, 5_000, 0, 11_000]
    found = measure([5_000, 10_000, 20_000, 11_000], ends=[1, 3], exposure=exposure)
    assert found.periods == 2
    assert (found.total_return, found.max_drawdown) == (11_000 / 10_000 - 1, 0.0)
    assert found.time_in_market == 0.5
    assert found.average_exposure == (0.5 + 1.0) / 4


def test_trade_figures() -> None:
    """Three winners and two losers of known size."""
    found = measure([10_000] * 10, fills=round_trips(300, 100, 200, -150, -50))
    assert (found.trades, found.fills, found.total_commission) == (5, 10, 500)
    assert (found.win_rate, found.profit_factor, found.expectancy) == (0.6, 3.0, 80.0)
    assert (found.average_win, found.average_loss) == (200.0, -100.0)
    assert (found.best_trade, found.worst_trade) == (300, -150)
    assert found.average_holding == DAY


def test_turnover() -> None:
    """100 bought and 100 sold on an equity of 100, over two of 252 days: 126 times a year."""
    assert measure([10_000, 10_000], fills=round_trips(-100)).turnover == 126.0


def test_no_trades() -> None:
    """Without trades and movement the ratios are null, and the counts and drawdown zero."""
    found = measure([10_000] * 5)
    ratios = ("win_rate", "profit_factor", "expectancy", "average_win", "average_loss")
    for name in (*ratios, "average_holding", "best_trade", "worst_trade", "sharpe", "sortino"):
        assert getattr(found, name) is None, name
    assert (found.trades, found.volatility, found.max_drawdown, found.calmar) == (0, 0.0, 0.0, None)
    assert (found.total_return, found.annual_return, found.turnover) == (0.0, 0.0, 0.0)


def test_only_winners_have_no_profit_factor() -> None:
    """Without a loss the profit factor and the average loss are null."""
    found = measure([10_000] * 2, fills=round_trips(100))
    assert (found.profit_factor, found.average_loss, found.win_rate) == (None, None, 1.0)


def test_constant_returns_have_no_sharpe() -> None:
    """Equal returns have no variance, whatever the last bit of their mean says."""
    found = measure([1_000 * 3**n for n in range(1, 8)], initial=1_000)
    assert (found.volatility, found.sharpe, found.sortino) == (0.0, None, None)


def test_one_session() -> None:
    """One session has a return and no spread."""
    found = measure([10_100])
    assert found.total_return == 10_100 / 10_000 - 1
    assert (found.volatility, found.sharpe, found.sortino) == (None, None, None)


def test_no_slices() -> None:
    """A run without a slice has no figure but its cash."""
    found = measure([])
    assert (found.initial, found.final, found.periods) == (10_000, 10_000, 0)
    assert (found.start, found.total_return, found.max_drawdown) == (None, None, None)
    assert (found.time_in_market, found.turnover) == (None, None)


@pytest.mark.parametrize("equity", [[5_000, 0], [5_000, -2_000, 4_000]])
def test_wiped_out(equity: list[int]) -> None:
    """After equity at or below zero nothing made of returns is defined; the loss is still told."""
    found = measure(equity)
    names = ("annual_return", "volatility", "sharpe", "sortino", "calmar")
    assert [getattr(found, name) for name in names] == [None] * 5
    assert found.total_return == equity[-1] / 10_000 - 1
    assert found.max_drawdown == min(equity) / 10_000 - 1


def test_growth_beyond_floats_is_undefined() -> None:
    """An annual return no float can hold is null, not infinite."""
    found = measure([10**15], initial=1, periods_per_year=525_600)
    assert found.annual_return is None


def test_as_dict_is_json_with_conventions() -> None:
    """The dictionary is strict JSON in currency units, ISO times and days, and names its terms."""
    found = measure([11_000, 10_000], fills=round_trips(300)).as_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["periods_per_year"], found["calendar"]) == (252, "XNYS")
    assert (found["initial"], found["best_trade"], found["total_commission"]) == (100.0, 3.0, 1.0)
    assert (found["start"], found["end"]) == ("1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z")
    assert (found["average_holding_days"], found["max_drawdown_duration_days"]) == (1.0, 1.0)
    assert "ddof 1" in str(found["conventions"])


def test_no_warnings() -> None:
    """No case divides by zero or overflows on the way to its nulls."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for equity in ([], [10_000], [0, 0], [-5, 5], [10_000] * 3):
            measure(equity)
