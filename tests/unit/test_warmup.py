"""Memory on the actual bars: what a warm-up loses against whole history, before a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streambt_spark import Broker, Cerebro, indicator
from streambt_spark.allocation import FixedSize
from streambt_spark.cerebro import Engine
from streambt_spark.core.indicators.library import check_memory_on
from streambt_spark.core.market.bars import Bars
from streambt_spark.core.plan import compile_plan
from streambt_spark.errors import BadParameter
from streambt_spark.stores.intake import intake
from streambt_spark.stores.lake import Snapshot, bars_to_batches, write_snapshot

DAY = 86_400_000_000
Array = np.ndarray


def bars_of(closes: dict[str, Array], volume: dict[str, Array] | None = None) -> Bars:
    """Return daily bars that do not move within a day."""
    names = tuple(sorted(closes))
    code = np.repeat(np.arange(len(names), dtype=np.int32), [len(closes[n]) for n in names])
    ts = np.concatenate([(np.arange(len(closes[n])) + 1) * DAY for n in names])
    close = np.concatenate([closes[n] for n in names])
    traded = np.concatenate([(volume or closes)[n] for n in names])
    return Bars("1d", names, code, ts, *(close,) * 4, traded)


def peaked(rows: int, peak: int, height: float = 1e7) -> Array:
    """Return a number that leaps once and else swings a little around 100."""
    values = 100 + np.sin(np.arange(rows) / 7)
    values[peak] = height
    return values


def calm(rows: int) -> Array:
    """Return a number that swings a little around 100."""
    return peaked(rows, 0, 100.0)


def cerebro_of(bars: Bars | Snapshot, func: Callable[..., Any], *columns: str) -> Cerebro:
    """Return a strategy of one function."""
    cerebro = Cerebro(Broker(cash=1e6))
    data = cerebro.add_data(bars)
    handle = cerebro.add_indicator(func, *(data[name] for name in columns))
    cerebro.add_strat(handle, FixedSize(1))
    return cerebro


def told(bars: Bars, func: Callable[..., Any], *columns: str) -> list[str]:
    """Return the warnings about one function."""
    return check_memory_on(
        compile_plan(cerebro_of(bars, func, *columns).plan()).features, lambda _: bars
    )


def latch(volume: Array, much: float = 5e6) -> Any:
    """Return 1 from the first volume above `much`, which the series for memory do not reach."""
    return np.where(np.maximum.accumulate(volume > much), 1.0, -1.0)


def test_a_latch_is_refused_with_the_accumulated_form() -> None:
    """It forgets its price 250 bars before an anchor: the rows that differ are counted."""
    spikes = {"A": peaked(2_000, 100), "B": peaked(2_000, 1_999)}
    bars = bars_of({"A": calm(2_000), "B": calm(2_000)}, spikes)
    says = (
        r"latch: with the 250 bars of its warm-up 'real' is not what it is over whole history: on "
        r"these bars it has another sign at 1488 of 4000 rows .* @indicator\(accumulated=True\)"
    )
    with pytest.raises(BadParameter, match=says) as caught:
        told(bars, latch, "volume")
    assert "\n" not in str(caught.value)
    with pytest.raises(BadParameter, match="is not what it is over whole history"):
        cerebro_of(bars, latch, "volume").run()


@pytest.mark.parametrize("engine", ["local", "spark"])
def test_a_snapshot_is_tried_as_bars_are(tmp_path: Path, engine: Engine) -> None:
    """By both engines, on its first bars and before anything is started or written."""
    bars = bars_of({"A": calm(2_000)}, {"A": peaked(2_000, 100)})
    snapshot = write_snapshot(bars_to_batches(bars), tmp_path / "lake", interval="1d")
    cerebro = cerebro_of(snapshot, latch, "volume")
    with pytest.raises(BadParameter, match="another sign at 1488 of 2000 rows"):
        cerebro.run(engine, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_that_fits_is_let_through() -> None:
    """Where no anchor cuts anything off there is nothing to lose."""
    for rows, spike in ((500, 100), (2_000, 1_950)):
        bars = bars_of({"A": calm(rows)}, {"A": peaked(rows, spike)})
        assert told(bars, latch, "volume") == []


@indicator(warmup=40)
def short_latch(close: Array) -> Any:
    """Remember as long as it says."""
    return np.where(np.maximum.accumulate(close > 1e6), 1.0, -1.0)


@indicator(warmup=40)
def mean_of_60(close: Array) -> Any:
    """Need 60 bars and ask for 40."""
    total = np.full(len(close), np.nan)
    if len(close) >= 60:
        total[59:] = np.lib.stride_tricks.sliding_window_view(close, 60).max(axis=1)
    return total


def test_the_users_word_is_tried_on_the_bars() -> None:
    """A warm-up that he declared is warned of, with the one that would do."""
    bars = bars_of({"A": peaked(2_000, 100)})
    (warning,) = told(bars, short_latch, "close")
    assert "short_latch: with the 40 bars of its warm-up" in warning
    (warning,) = told(bars, mean_of_60, "close")
    assert "on these bars 80 bars would do: declare it with @indicator(warmup=80)" in warning
    with pytest.warns(UserWarning, match="mean_of_60: with the 40 bars"):
        cerebro_of(bars, mean_of_60, "close").run()


@indicator(cross_sectional=True)
def ever_best(close: Array) -> Any:
    """Return 1 for what has ever been above 1e6."""
    return np.where(np.maximum.accumulate(np.nan_to_num(close) > 1e6), 1.0, -1.0)


def test_functions_across_symbols_are_tried_too() -> None:
    """Over the slices of all symbols."""
    bars = bars_of({"A": peaked(1_500, 100), "B": peaked(1_500, 1_499)})
    with pytest.raises(BadParameter, match="ever_best: with the 250 bars"):
        told(bars, ever_best, "close")


@indicator(accumulated=True)
def carried(carry: Array | None, close: Array) -> Any:
    """Return 1 from the first price above 1e6."""
    on = carry is not None and bool(carry[0])
    out = np.maximum.accumulate(np.append(on, close > 1e6))[1:]
    return out[-1:], np.where(out, 1.0, -1.0)


def test_the_accumulated_form_gives_whole_history() -> None:
    """To the bit, in any portions."""
    bars = bars_of({"A": peaked(2_000, 100)})
    assert told(bars, carried, "close") == []
    fills = cerebro_of(bars, carried, "close").run().fills
    assert fills["ts"].astype("int64").tolist() == [int(fills["ts"].astype("int64").iloc[0])]


def test_only_some_bars_are_tried() -> None:
    """Of many symbols a few, evenly chosen; of long histories the first bars."""
    calls: list[int] = []

    @indicator(warmup=0)
    def counted(close: Array) -> Any:
        return close

    closes = {f"S{i:03}": peaked(1_000, 5) for i in range(50)}
    plan = cerebro_of(bars_of(closes), counted, "close").plan()
    kernel = plan.nodes[0].function.kernel
    object.__setattr__(kernel, "call", lambda close: calls.append(len(close)) or close)
    assert check_memory_on(compile_plan(plan).features, lambda _: bars_of(closes), rows=3_000) == []
    assert sum(size == 1_000 for size in calls) == 3


def test_a_latch_on_real_bars(market: Path) -> None:
    """As it was found: an RSI's latch, cut at the warm-up, traded otherwise than as written."""

    @indicator(warmup=250)
    def until(rsi: Array, hi: float = 85.0) -> Any:
        return np.where(np.maximum.accumulate(np.nan_to_num(rsi) > hi), -1.0, 1.0)

    cerebro = Cerebro(Broker(cash=1e6))
    data = cerebro.add_data(intake(market / "us_daily.csv.gz", interval="1d").bars)
    rsi = cerebro.add_indicator("RSI", data["close"])
    cerebro.add_strat(cerebro.add_indicator(until, rsi), FixedSize(1))
    with pytest.warns(UserWarning, match=r"until: with the 250 bars .* sign at \d+ of 29245"):
        cerebro.run()
    undeclared = Cerebro(Broker(cash=1e6))
    data = undeclared.add_data(cerebro.data)
    rsi = undeclared.add_indicator("RSI", data["close"])
    with pytest.raises(BadParameter, match="accumulated"):
        undeclared.add_indicator(indicator()(lambda rsi: np.maximum.accumulate(rsi > 85.0)), rsi)
