"""What a function is tried on when it is declared, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from streambt_spark.core.indicators.causality import check_causal, is_pointwise
from streambt_spark.core.indicators.function import Family
from streambt_spark.core.indicators.library import declare, indicator, resolve
from streambt_spark.core.indicators.memory import check_memory
from streambt_spark.errors import BadParameter, LookAheadError, StrategyError

DAY = 86_400_000_000
Array = np.ndarray


def times(ts: Array) -> pd.DatetimeIndex:
    """Return the times as pandas has them."""
    return pd.to_datetime(ts.astype(np.int64), unit="us")


def following(close: Array) -> Array:
    """Return the next row's value."""
    return np.append(close[1:], close[-1:])


def days_close(close: Array, ts: Array) -> Any:
    """Resample to days and spread the day's last value over the day."""
    series = pd.Series(close, times(ts))
    return series.resample("1D").last().reindex(series.index, method="ffill").to_numpy()


def days_high(close: Array, ts: Array) -> Any:
    """Group by day and transform."""
    return pd.Series(close).groupby(ts // DAY).transform("max").to_numpy()


def days_rank(close: Array, ts: Array) -> Any:
    """Group by day and rank."""
    return pd.Series(close).groupby(ts // DAY).rank().to_numpy()


def flat_at_the_close(close: Array, ts: Array) -> Any:
    """Leave on the day's last bar."""
    day = ts // DAY
    return np.where(np.append(day[1:] != day[:-1], False), -1.0, 1.0)


def flat_at_the_month_end(close: Array, ts: Array) -> Any:
    """Leave on the month's last bar."""
    month = ts.astype(np.int64).astype("M8[us]").astype("M8[M]").astype(int)
    return np.where(np.append(month[1:] != month[:-1], False), -1.0, 1.0)


def above_a_price(close: Array) -> Any:
    """Look ahead above a price."""
    return np.where(close > 30_000, following(close), 0.0)


def below_a_price(close: Array) -> Any:
    """Look ahead below a price."""
    return np.where(close < 0.4, following(close), 0.0)


def after_a_date(close: Array, ts: Array) -> Any:
    """Look ahead after a date."""
    return np.where(ts > 1.45e15, following(close), 0.0)


def in_a_year(close: Array, ts: Array) -> Any:
    """Look ahead in one year."""
    year = ts.astype(np.int64).astype("M8[us]").astype("M8[Y]").astype(int) + 1970
    return np.where(year == 2008, following(close), 0.0)


def on_fridays(close: Array, ts: Array) -> Any:
    """Look ahead on one weekday."""
    return np.where((ts // DAY + 3) % 7 == 4, following(close), 0.0)


def in_an_hour(close: Array, ts: Array) -> Any:
    """Look ahead in one hour of the day."""
    return np.where(ts // 3_600_000_000 % 24 == 15, following(close), 0.0)


def without_volume(close: Array, volume: Array) -> Any:
    """Look ahead where nothing is traded."""
    return np.where(volume == 0, following(close), 0.0)


def where_overbought(rsi: Array, close: Array) -> Any:
    """Look ahead behind another indicator."""
    return np.where(rsi > 70, following(close), 0.0)


def centred(close: Array) -> Any:
    """Take a long mean around each row."""
    return pd.Series(close).rolling(501, center=True).mean().to_numpy()


def two_ahead(close: Array) -> Any:
    """Look at the row after the next."""
    return np.append(close[2:], close[-2:])[: len(close)]


def peaks(close: Array) -> Any:
    """Find local maxima."""
    found = np.zeros(len(close))
    found[1:-1] = (close[1:-1] > close[:-2]) & (close[1:-1] > close[2:])
    return found


def last_row(close: Array) -> Any:
    """Treat the last row alone otherwise."""
    return np.where(np.arange(len(close)) == len(close) - 1, 0.0, close)


def whole_quantile(close: Array) -> Any:
    """Compare with a quantile of all rows."""
    return (close > np.quantile(close, 0.9)).astype(float)


def filled_backwards(x: Array) -> Any:
    """Fill gaps from behind."""
    return pd.Series(x).bfill().to_numpy()


@indicator(cross_sectional=True)
def interpolated(close: Array) -> Any:
    """Interpolate the gaps of a panel."""
    return pd.DataFrame(close).interpolate().to_numpy()


@indicator(cross_sectional=True)
def panel_filled_backwards(close: Array) -> Any:
    """Fill the gaps of a panel from behind, and rank."""
    return pd.DataFrame(close).bfill().rank(axis=1).to_numpy()


@indicator(cross_sectional=True)
def panel_normalised(close: Array) -> Any:
    """Measure against the whole panel's mean."""
    return close - np.nanmean(close, axis=0, keepdims=True)


LOOKING_AHEAD = (
    days_close, days_high, days_rank, flat_at_the_close, flat_at_the_month_end, above_a_price,
    below_a_price, after_a_date, in_a_year, on_fridays, in_an_hour, without_volume,
    where_overbought, centred, two_ahead, peaks, last_row, whole_quantile, filled_backwards,
    interpolated, panel_filled_backwards, panel_normalised,
)  # fmt: skip


@pytest.mark.parametrize("func", LOOKING_AHEAD, ids=lambda f: f.__name__)
def test_a_function_that_looks_ahead_is_refused(func: Callable[..., Any]) -> None:
    """On days and minutes, behind conditions on price, date, hour and volume, over gaps."""
    with pytest.raises(
        LookAheadError, match=rf"{func.__name__} looks ahead: 'real' at row \d+ was"
    ):
        declare(func, {})


def test_rounding_is_told_from_looking_ahead() -> None:
    """An FFT and back changes the last bits with the length: no look-ahead, and a way out."""

    def spectral(close: Array) -> Any:
        return np.fft.irfft(np.fft.rfft(close), len(close)) if len(close) > 1 else close * 1.0

    says = r"spectral rounds differently as bars come: .*\(np\.round\(value, 9\)\)"
    with pytest.raises(LookAheadError, match=says):
        declare(spectral, {})


def test_chance_is_refused() -> None:
    """The same rows must always give the same."""
    with pytest.raises(StrategyError, match="differs from call to call for the same rows"):
        declare(lambda close: np.random.rand(len(close)), {})


def day_so_far(high: Array, ts: Array) -> Any:
    """Return the day's high up to each row."""
    return pd.Series(high).groupby(ts // DAY).cummax().to_numpy()


def rolling(close: Array, window: int = 20) -> Any:
    """Return a rolling mean by pandas."""
    return pd.Series(close).rolling(window).mean().to_numpy()


def ewm(close: Array) -> Any:
    """Return an exponential mean by pandas."""
    return pd.Series(close).ewm(span=20).mean().to_numpy()


@indicator(cross_sectional=True)
def filled_forwards(close: Array) -> Any:
    """Fill the gaps of a panel from before, and rank."""
    return pd.DataFrame(close).ffill(limit=20).rank(axis=1).to_numpy()


@pytest.mark.parametrize(
    "func", [day_so_far, rolling, ewm, filled_forwards], ids=lambda f: f.__name__
)
def test_honest_functions_pass(func: Callable[..., Any]) -> None:
    """Also those of pandas, on minutes and over gaps."""
    assert declare(func, {}).family in (Family.ANCHORED, Family.CROSS_SECTIONAL)


def test_a_number_missing_in_a_bar_is_no_concern() -> None:
    """Bars have all numbers: a function of them may stumble over a NaN, one of a panel may not."""

    def ordered(close: Array) -> Any:
        if np.isnan(close).any():
            raise ValueError("a number is missing")
        return np.diff(close, axis=0, prepend=np.nan * close[:1])

    assert declare(ordered, {}).family is Family.ANCHORED
    with pytest.raises(StrategyError, match="a number is missing"):
        declare(indicator(cross_sectional=True)(ordered), {})


# --- pointwise ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "func",
    [
        lambda fast, slow: np.sign(fast - slow),
        lambda rsi: np.where(rsi < 30, 1.0, np.where(rsi > 55, -1.0, 0.0)),
        lambda close, ts: np.where(ts // DAY % 7 == 4, -1.0, np.log(close)),
        lambda close: np.full(len(close), 1.0),
        lambda *legs: legs[0] - legs[1] + 2 * legs[2],
        np.sqrt,
    ],
)
def test_what_depends_on_its_row_alone_is_found_out(func: Callable[..., Any]) -> None:
    """And keeps no history."""
    assert declare(func, {}, 3).family is Family.POINTWISE


@pytest.mark.parametrize(
    "func",
    [
        lambda close: np.diff(close, prepend=np.nan),
        lambda close: close - close.mean(),
        lambda close: np.where(close > 150, np.append(close[:1], close[:-1]), close),
        lambda close: close + len(close),
        lambda close: close * np.arange(len(close)),
        lambda close: close if len(close) > 300 else -close,
        lambda close: np.maximum.accumulate(close),
        lambda close, ts: np.where(ts > 1.6e15, np.append(ts[:1], ts[:-1]), ts),
        indicator(lookback=1)(lambda close: close),
        indicator(warmup=0)(lambda close: close * 2),
        indicator(cross_sectional=True)(lambda close: close * 3),
    ],
)
def test_what_depends_on_other_rows_is_not_taken_for_pointwise(func: Callable[..., Any]) -> None:
    """Be it behind a condition; and what a function says of itself is taken by its word."""
    assert not is_pointwise(resolve(func, {}))


# --- memory ---------------------------------------------------------------------------------------


def drawdown(close: Array) -> Any:
    """Return the distance from the peak."""
    return close / np.maximum.accumulate(close) - 1


def trailing_stop(close: Array) -> Any:
    """Leave a tenth below the peak."""
    return np.where(close < 0.9 * np.maximum.accumulate(close), -1.0, 1.0)


def latch(rsi: Array, lo: float = 30.0, hi: float = 70.0) -> Any:
    """Return 1 from above `hi` until below `lo`."""
    on, out = 0.0, np.empty(len(rsi))
    for i, value in enumerate(rsi):
        on = 1.0 if value > hi else 0.0 if value < lo else on
        out[i] = on
    return out


def last_signal(signal: Array) -> Any:
    """Fill forward what a signal said last."""
    return pd.Series(np.where(np.abs(signal) > 60, signal, np.nan)).ffill().to_numpy()


def count(close: Array) -> Any:
    """Number the rows."""
    return np.arange(len(close)) * 1.0


@pytest.mark.parametrize(
    "func", [np.maximum.accumulate, drawdown, trailing_stop, latch, last_signal, count, np.cumsum]
)
def test_what_depends_on_all_bars_is_refused_with_the_accumulated_form(
    func: Callable[..., Any],
) -> None:
    """No warm-up would do for a running maximum, a latch or a count."""
    says = r"depends on more than the 250 bars of its warm-up .*@indicator\(accumulated=True\)"
    with pytest.raises(BadParameter, match=says):
        check_memory(resolve(indicator()(lambda x: func(x)), {}))


def test_a_longer_memory_is_refused_with_the_warmup_that_would_do() -> None:
    """An exponential mean over 200 bars has forgotten after 2,000, by doubling."""

    def slow(close: Array) -> Any:
        return pd.Series(close).ewm(span=200).mean().to_numpy()

    with pytest.raises(BadParameter, match=r"2000 bars would do: .*@indicator\(warmup=2000\)"):
        declare(slow, {})
    assert declare(indicator(warmup=2000)(slow), {}).warmup == 2000


# --- accumulated ----------------------------------------------------------------------------------


@indicator(accumulated=True)
def top(carry: Array | None, high: Array) -> Any:
    """Return the highest so far."""
    start = -np.inf if carry is None else carry[0]
    found = np.fmax.accumulate(np.append(start, high))[1:]
    return found[-1:], found


@indicator(accumulated=True)
def split_sum(carry: Array | None, close: Array) -> Any:
    """Add up each part by itself, which rounds otherwise."""
    total = (0.0 if carry is None else carry[0]) + np.cumsum(close)
    return total[-1:], total


@indicator(accumulated=True)
def forgetful(carry: Array | None, close: Array) -> Any:
    """Carry nothing."""
    return np.zeros(1), np.maximum.accumulate(close)


@indicator(accumulated=True)
def peeping(carry: Array | None, close: Array) -> Any:
    """Look ahead within a part."""
    return np.zeros(1), following(close)


def test_an_accumulated_function_is_bound_without_its_carry() -> None:
    """The carry is no column, and the family says that it keeps one."""
    function = declare(top, {})
    assert (function.inputs, function.family, function.warmup) == (("high",), Family.ACCUMULATED, 0)
    carry, (values,) = function.accumulate(None, [np.array([np.nan, 1.0, 3.0])])
    assert np.array_equal(values, [np.nan, 1.0, 3.0], equal_nan=True)
    assert function.accumulate(carry, [np.array([2.0])])[1][0].tolist() == [3.0]
    assert function.evaluate([np.array([1.0, 2.0])])[0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("func", [split_sum, forgetful, peeping], ids=lambda f: f.__name__)
def test_an_accumulated_function_must_not_show_where_it_is_split(func: Callable[..., Any]) -> None:
    """Any split gives the same bits, or it is refused."""
    with pytest.raises(StrategyError, match=r"where they are split after \d+ rows: the carry must"):
        declare(func, {})


@pytest.mark.parametrize(
    ("func", "says"),
    [
        (lambda carry, x: x, r"returned ndarray; an accumulated function returns \(carry, real\)"),
        (lambda carry, x: (np.ones((2, 2)), x), r"the carry is float64 of shape \(2, 2\)"),
        (lambda carry, x: ("a", x), "the carry is <U1"),
        (lambda carry, x: (x, x), "always as many"),
        (lambda carry, x: (np.ones(1), x[1:]), "expected numbers of the columns' shape"),
        (lambda carry, x: (np.ones(1), x, x), "returned 2 outputs, expected 1"),
    ],
)
def test_a_carry_is_a_small_vector(func: Callable[..., Any], says: str) -> None:
    """Always of one length; anything else is named in one line."""
    with pytest.raises(StrategyError, match=says):
        check_causal(resolve(indicator(accumulated=True)(func), {}))


@pytest.mark.parametrize("options", [{"lookback": 3}, {"warmup": 3}, {"cross_sectional": True}])
def test_an_accumulated_function_has_no_other_memory(options: dict[str, Any]) -> None:
    """It carries what it needs."""
    with pytest.raises(BadParameter, match="carries what it needs"):
        indicator(accumulated=True, **options)
    with pytest.raises(BadParameter, match="first argument must be the carry"):
        resolve(indicator(accumulated=True)(lambda *, x=1: x), {})
