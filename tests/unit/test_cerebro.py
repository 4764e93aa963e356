"""Cerebro: what a user writes, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from streambt_spark import Broker, Cerebro, Universe, indicator
from streambt_spark.allocation import FixedSize
from streambt_spark.cerebro import Engine
from streambt_spark.errors import (
    BadParameter,
    ConfigError,
    GraphError,
    LookAheadError,
    NoData,
    UnknownColumn,
    UnknownFunction,
)

ROWS = [
    {"symbol": s, "ts": f"2024-01-0{day}", "open": p, "high": p, "low": p, "close": p, "volume": 1}
    for s, prices in {"AAPL": (1, 2, 3), "SPY": (4, 3, 2)}.items()
    for day, p in enumerate(prices, start=2)
]


def rising(close: np.ndarray) -> np.ndarray:
    """Return the sign of the change."""
    return np.sign(np.diff(close, prepend=np.nan))


def tomorrow(close: np.ndarray) -> np.ndarray:
    """Return the sign of the change to come."""
    return np.sign(np.diff(close, append=np.nan))


def made() -> tuple[Cerebro, Any]:
    """Return a Cerebro with bars, and their handle."""
    cerebro = Cerebro(Broker(cash=100))
    return cerebro, cerebro.add_data(ROWS, tz="UTC")


def test_a_first_strategy() -> None:
    """Data, a function, a strategy, a run."""
    cerebro, bars = made()
    name = cerebro.add_strat(cerebro.add_indicator(rising, bars["close"]), FixedSize(5))
    result = cerebro.run()
    assert result.fills["symbol"].tolist() == ["AAPL"]
    assert result.fills["price"].tolist() == [3.0]
    assert result.fills["lane"].tolist() == [name]
    assert result.counts == {
        "read": 6, "accepted": 6, "duplicate": 0, "late": 0, "rejected": 0, "revised": 0,
    }  # fmt: skip
    assert len(result.quarantine) == 0


def test_rows_that_are_no_bar_are_in_the_result() -> None:
    """A bad row, a repeated and a revised one are counted, and the bad one is handed back."""
    bad, again = ROWS[0] | {"close": -1}, ROWS[1] | {"close": 1, "low": 1}
    cerebro = Cerebro(Broker(cash=100))
    with pytest.warns(UserWarning, match="1 of 9 rows"):
        bars = cerebro.add_data([*ROWS, bad, ROWS[3], again], tz="UTC")
    cerebro.add_strat(cerebro.add_indicator(rising, bars["close"]), FixedSize(5))
    result = cerebro.run()
    assert result.counts == {
        "read": 9, "accepted": 7, "duplicate": 1, "late": 0, "rejected": 1, "revised": 1,
    }  # fmt: skip
    assert result.quarantine["reason"].tolist() == ["non_positive_price"]
    assert result.quarantine["row"].tolist() == [7]


def test_a_live_universe_has_its_symbols_as_the_stores_do() -> None:
    """In capitals, in order, each once."""
    assert Universe((" spy", "aapl", "SPY"), "1m").symbols == ("AAPL", "SPY")


def test_the_same_again_is_the_same_lane() -> None:
    """However often it is declared; another broker is another lane, with a function run once."""
    cerebro, bars = made()
    names = [
        cerebro.add_strat(cerebro.add_indicator(rising, bars["close"]), FixedSize(5), broker=broker)
        for broker in (None, Broker(cash=100.0), Broker(cash=200))
    ]
    plan = cerebro.plan()
    assert names[0] == names[1] != names[2]
    assert [lane.name for lane in plan.lanes] == [names[0], names[2]]
    assert len(plan.nodes) == 1


def test_symbols_are_chosen() -> None:
    """Only these; one without bars is an error."""
    cerebro = Cerebro()
    cerebro.add_data(ROWS, tz="UTC", symbols=["SPY"])
    assert cerebro.data is not None
    assert cerebro.data.symbols == ("SPY",)
    with pytest.raises(NoData, match=r"no bar of SPX"):
        Cerebro().add_data(ROWS, tz="UTC", symbols=["AAPL", "SPX"])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda c, b: c.add_indicator("SMAA", b["close"]), UnknownFunction, "did you mean"),
        (lambda c, b: c.add_indicator("SMA", b["clse"]), UnknownColumn, r"did you mean close\?"),
        (lambda c, b: c.add_indicator("SMA", "clse") and c.plan(), GraphError, "strategy"),
        (lambda c, b: c.add_indicator("SMA", b["close"], period=3), BadParameter, "timeperiod"),
        (lambda c, b: c.add_indicator(tomorrow, b["close"]), LookAheadError, "looks ahead"),
        (lambda c, b: c.add_data(ROWS), BadParameter, "there is data already"),
        (lambda c, b: c.add_strat("close", FixedSize(1)), BadParameter, "handle of an indicator"),
        (lambda c, b: c.add_strat(b, FixedSize(1)), UnknownColumn, "has several columns"),
        (lambda c, b: c.add_strat(b["close"], 5), BadParameter, "an allocation is FixedSize"),
        (lambda c, b: c.run(), GraphError, "no strategy was added"),
        (lambda c, b: Cerebro().plan(), BadParameter, "there is no data"),
    ],
)
def test_mistakes_are_named_at_once(wrong: Any, error: type[Exception], message: str) -> None:
    """Where they are made, in one line."""
    cerebro, bars = made()
    with pytest.raises(error, match=message) as raised:
        wrong(cerebro, bars)
    assert "\n" not in str(raised.value)


def test_a_handle_of_another_cerebro_is_refused() -> None:
    """It would stand for something else here."""
    one, bars = made()
    two, _ = made()
    handle = one.add_indicator(rising, bars["close"])
    two.add_indicator("SMA", bars["close"], timeperiod=2)
    for use in (
        lambda: two.add_strat(handle, FixedSize(1)),
        lambda: two.add_indicator("SMA", handle, timeperiod=2),
    ):
        with pytest.raises(BadParameter, match="rising was declared in another Cerebro"):
            use()


def test_a_refused_strategy_leaves_nothing_behind() -> None:
    """After the mistake is mended, the run is as if it had not been made."""
    cerebro, bars = made()
    with pytest.raises(BadParameter):
        cerebro.add_strat(bars["close"], 5)  # type: ignore[arg-type]
    cerebro.add_strat(bars["close"], FixedSize(5))
    assert len(cerebro.plan().lanes) == 1


def test_engines_are_known_by_name() -> None:
    """And the local one has no options."""
    cerebro, bars = made()
    cerebro.add_strat(bars["close"], FixedSize(1))
    with pytest.raises(ConfigError, match="engine 'flink' is not known; use local or spark"):
        cerebro.run("flink")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"no options, found \['speed'\]"):
        cerebro.run("local", speed=1)


@pytest.mark.parametrize("out", ["s3a://b/run", Path("s3a://b/run")])
def test_a_run_s_folder_is_of_this_machine(
    out: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written into a local folder that is called s3a:."""
    monkeypatch.chdir(tmp_path)
    cerebro, bars = made()
    cerebro.add_strat(bars["close"], FixedSize(1))
    for engine in get_args(Engine):
        with pytest.raises(ConfigError, match="no folder of this machine"):
            cerebro.run(engine, out=out)
    assert list(tmp_path.iterdir()) == []


def test_a_live_universe_has_a_plan_but_no_replay() -> None:
    """Its symbols are sorted, each once; without any there is nothing to trade."""
    cerebro = Cerebro()
    bars = cerebro.add_data(Universe(("SPY", "AAPL", "SPY"), "1m"))
    cerebro.add_strat(bars["close"], FixedSize(1))
    assert cerebro.plan().symbols == ("AAPL", "SPY")
    with pytest.raises(ConfigError, match="live universe"):
        cerebro.run()
    with pytest.raises(ConfigError, match="needs its symbols"):
        Universe((), "1m")


def test_the_calendar_follows_the_symbols() -> None:
    """Stocks are counted by sessions, crypto by days, another by its name."""
    stocks, _ = made()
    crypto = Cerebro()
    crypto.add_data(Universe(("@BTCUSD",), "1m"))
    assert (stocks.calendar.name, crypto.calendar.name) == ("XNYS", "24/7")
    assert Cerebro(calendar="XLON").calendar.name == "XLON"


@indicator(cross_sectional=True, warmup=0)
def cheapest(close: np.ndarray) -> np.ndarray:
    """Return 1 for the lowest close of a slice, -1 for the others."""
    return np.where(close == np.nanmin(close, axis=1, keepdims=True), 1.0, -1.0)


def test_a_function_across_symbols_trades() -> None:
    """AAPL is cheapest on the first two days, SPY on the third, too late to fill."""
    cerebro, bars = made()
    cerebro.add_strat(cerebro.add_indicator(cheapest, bars["close"]), FixedSize(5))
    assert cerebro.run().orders[["symbol", "side", "status"]].to_numpy().tolist() == [
        ["AAPL", "buy", "filled"],
        ["AAPL", "sell", "open"],
        ["SPY", "buy", "open"],
    ]


def test_a_strategy_is_called_one_name() -> None:
    """Added again it is the same lane; with another label it could not be told which is meant."""
    cerebro = Cerebro()
    pulse = cerebro.add_data(ROWS)["close"]
    name = cerebro.add_strat(pulse, FixedSize(1), label={"size": 1})
    assert cerebro.add_strat(pulse, FixedSize(1.0), label={"size": 1}) == name
    assert len(cerebro.plan().lanes) == 1
    for other in ({"label": {"size": 2}}, {"label": {"size": 1}, "record": "equity"}):
        with pytest.raises(BadParameter, match=r"the same strategy was added as \{'size': 1\}"):
            cerebro.add_strat(pulse, FixedSize(1), **other)
