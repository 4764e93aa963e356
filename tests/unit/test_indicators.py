"""Indicators: TA-Lib by name, Python functions, identity, the two checks."""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
import sys
from enum import Enum
from pathlib import Path

import numba
import numpy as np
import pytest
from pyspark import cloudpickle
from talib import _ta_lib as ta

from streambt_spark.core.indicators.library import (
    M_MIN,
    Family,
    check_causal,
    check_memory,
    identity_of,
    indicator,
    resolve,
)
from streambt_spark.core.indicators.talib import ACCUMULATED, NAMES
from streambt_spark.errors import BadParameter, LookAheadError, StrategyError, UnknownFunction

MARKET = Path(__file__).parents[2].parent / "shared" / "market" / "us_daily.csv.gz"
NAN = np.nan

# Values near zero, where rounding is large against the value: the greatest error found against the
# function's median size, on 5,849 daily bars of each of five stocks.
NEAR_ZERO = {
    "ADOSC": 8.2e-13, "AO": 1.8e-13, "BETA": 1.5e-10, "CMO": 6.3e-11, "CMOU": 4.7e-14,
    "CORREL": 2.9e-10, "DPO": 6.5e-13, "DX": 6.7e-11, "FOSC": 3.1e-10, "HT_PHASOR": 2.6e-11,
    "HT_SINE": 2.4e-11, "LINEARREG_ANGLE": 3.6e-11, "LINEARREG_SLOPE": 3.6e-11,
    "MACDEXT": 7.6e-13, "MFI": 4.2e-15, "STOCHRSI": 1.4e-14,
}  # fmt: skip
FLIPS = {("AIG", "CDLEVENINGSTAR"): 1}  # bars that tie with a running average

SLOW = (
    ("SAR", {"acceleration": 0.005, "maximum": 0.05}),
    ("SAR", {"acceleration": 0.001, "maximum": 0.01}),
    ("SAR", {"acceleration": 0.0, "maximum": 0.2}),
    ("SAREXT", {"accelerationlong": 0.005}),
    ("SUPERTREND", {"multiplier": 6.0}),
    ("SUPERTREND", {"multiplier": 10.0}),
    ("PVO", {"matype": "KAMA"}),
    ("KAMA", {"timeperiod": 5}),
    ("EMA", {"timeperiod": 200}),
    ("RMA", {"timeperiod": 100}),
    ("BBANDS", {"matype": "EMA"}),
    ("STOCH", {"slowk_matype": "RMA", "slowd_matype": "DEMA"}),
)


def read_bars(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Real bars by symbol, none where they are missing."""
    bars: dict[str, dict[str, list[float]]] = {}
    if path.exists():
        with gzip.open(path, "rt") as file:
            for row in csv.DictReader(file):
                columns = bars.setdefault(row["symbol"], {})
                for field in ("open", "high", "low", "close", "volume"):
                    columns.setdefault(field, []).append(float(row[field]))
    return {s: {k: np.array(v) for k, v in columns.items()} for s, columns in bars.items()}


def read_daily() -> dict[str, dict[str, np.ndarray]]:
    """Real daily bars by symbol, or one generated series where they are missing."""
    return read_bars(MARKET) or {"generated": generate(5_849, 11)}


def generate(rows: int, seed: int, tick: float = 0.01) -> dict[str, np.ndarray]:
    """A seeded random walk on a grid of ticks."""
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.012, rows))) / tick) * tick
    opened = np.round(np.roll(close, 1) * np.exp(rng.normal(0, 0.004, rows)) / tick) * tick
    high = np.maximum(opened, close) + np.round(rng.exponential(0.6, rows) / tick) * tick
    low = np.minimum(opened, close) - np.round(rng.exponential(0.6, rows) / tick) * tick
    volume = np.round(rng.lognormal(13, 0.5, rows))
    return {"open": opened, "high": high, "low": low, "close": close, "volume": volume}


def columns_of(function, bars):
    """The function's inputs out of bars, brought into its domain."""
    series = {"real0": "high", "real1": "low"}
    periods = np.resize(np.arange(2.0, 31.0), len(bars["close"]))
    columns = [
        periods if name == "periods" else bars[series.get(name, name)] for name in function.inputs
    ]
    if function.name in ("ACOS", "ASIN"):
        return [column / column.max() for column in columns]
    if function.name in ("COSH", "EXP", "SINH"):
        return [column / 100 for column in columns]
    return columns


def evaluate_anchored(function, columns):
    """The anchor rule, span by span."""
    rows = len(columns[0])
    outputs = [np.full(rows, NAN) for _ in function.outputs]
    for start in range(0, rows, function.span):
        since = max(0, start - function.warmup)
        window = [column[since : start + function.span].copy() for column in columns]
        for output, values in zip(outputs, function.evaluate(window), strict=True):
            output[start : start + function.span] = values[start - since :]
    return outputs


def disagreement(function, bars):
    """Bars beyond 1e-9 of the value, and the greatest error there against the median size."""
    columns = columns_of(function, bars)
    count, worst = 0, 0.0
    anchored = evaluate_anchored(function, columns)
    for full, found in zip(function.evaluate(columns), anchored, strict=True):
        assert np.array_equal(np.isnan(full), np.isnan(found)), function.name
        known = ~np.isnan(full)
        error = np.abs(full - found)[known]
        off = error > 1e-9 * np.maximum(np.abs(full), np.abs(found))[known]
        if off.any():
            size = float(np.median(np.abs(full[known])))
            count += int(off.sum())
            worst = max(worst, float(error[off].max()) / size if size else np.inf)
    return count, worst


@pytest.fixture(scope="module")
def daily():
    """Bars by symbol."""
    return read_daily()


def test_every_talib_function_agrees_with_full_history(daily):
    """Anchored values are full history's, to 1e-9 or, near zero, to the error in the table."""
    for symbol, bars in daily.items():
        for name in sorted(NAMES - set(ACCUMULATED)):
            count, worst = disagreement(resolve(name, {}), bars)
            if (symbol, name) in FLIPS:
                assert count == FLIPS[symbol, name]
            else:
                limit = 1e-9 if symbol == "generated" else NEAR_ZERO.get(name, 0.0)
                assert worst <= limit, (symbol, name, count, worst)


@pytest.mark.parametrize(("name", "params"), SLOW)
def test_slow_settings_get_the_warmup_they_need(daily, name, params):
    """Settings that forget slowly agree with full history to 1e-9 of the median size as well."""
    for symbol, bars in daily.items():
        assert disagreement(resolve(name, params), bars)[1] <= 1e-9, symbol


@pytest.mark.parametrize(
    ("name", "params", "field"),
    [
        ("MAMA", {}, "close"),
        ("MAMA", {"fastlimit": 0.05, "slowlimit": 0.01}, "close"),
        ("MA", {"matype": "MAMA"}, "close"),
        ("HT_DCPHASE", {}, "close"),
        ("HT_SINE", {}, "close"),
        ("HT_TRENDMODE", {}, "high"),
    ],
)
def test_the_phase_of_a_cycle_is_remembered_for_long(name, params, field):
    """On minute bars, where prices tie, these agree with full history only after 5,000 bars."""
    bars = read_bars(MARKET.parent / "crypto_minute.csv.gz").get("@BTCUSD")
    if bars is None:
        pytest.skip("no real bars")
    assert disagreement(resolve(name, params), {"close": bars[field]})[1] <= 1e-9


def test_index_of_the_extreme_agrees_where_prices_tie():
    """With many equal prices the bars since the extreme do not depend on the anchor."""
    bars = generate(3_000, 5, tick=1.0)
    for name in ("MAXINDEX", "MININDEX", "MINMAXINDEX", "AROON"):
        assert disagreement(resolve(name, {}), bars) == (0, 0.0)


def test_every_talib_function_gives_talibs_values():
    """Over a window from bar 0 the values are TA-Lib's to the bit, as float64, NaN where none."""
    bars = generate(400, 3)
    for name in sorted(NAMES):
        function = resolve(name, {})
        columns = columns_of(function, bars)
        raw = getattr(ta, name)(*columns)
        raw = raw if isinstance(raw, tuple) else (raw,)
        found = function.evaluate(columns)
        assert len(found) == len(function.outputs) == len(raw), name
        for expected, values in zip(raw, found, strict=True):
            assert values.dtype == np.float64, name
            assert np.isnan(values[: function.lookback]).all(), name
            rows = np.arange(400) - expected if name.endswith("INDEX") else expected
            assert np.array_equal(
                rows[function.lookback :], values[function.lookback :], equal_nan=True
            ), name


def test_no_talib_function_looks_ahead():
    """Cutting or changing later bars changes no bit of any of TA-Lib's values."""
    for name in sorted(NAMES):
        check_causal(resolve(name, {}))


@pytest.mark.parametrize("rows", [0, 1, 2, 90])
def test_all_nan_gives_all_nan(rows):
    """A series without a number gives NaN, whatever its length."""
    for name in sorted(NAMES):
        function = resolve(name, {})
        outputs = function.evaluate([np.full(rows, NAN)] * len(function.inputs))
        assert all(len(o) == rows and np.isnan(o).all() for o in outputs), name


def test_leading_nan_only_shifts_the_values():
    """The lookback counts from the first row in which every input is a number."""
    bars = generate(300, 4)
    for name in sorted(NAMES):
        function = resolve(name, {})
        columns = columns_of(function, bars)
        later = [np.concatenate((np.full(7, NAN), column)) for column in columns]
        later[0][7 - 3 : 7] = 1.0
        if len(later) == 1:
            later[0][:7] = NAN
        for first, shifted in zip(
            function.evaluate(columns), function.evaluate(later), strict=True
        ):
            assert np.isnan(shifted[:7]).all(), name
            assert np.array_equal(first, shifted[7:], equal_nan=True), name


def test_bars_since_the_extreme():
    """MAXINDEX and MININDEX count back from the bar: 0 is the bar itself."""
    close = np.array([3.0, 5.0, 4.0, 1.0, 2.0])
    (high,) = resolve("MAXINDEX", {"timeperiod": 3}).evaluate([close])
    low, top = resolve("MINMAXINDEX", {"timeperiod": 3}).evaluate([close])
    assert high.tolist()[2:] == [1.0, 2.0, 2.0]
    assert low.tolist()[2:] == [2.0, 0.0, 1.0]
    assert np.isnan(high[:2]).all()
    assert np.array_equal(top, high, equal_nan=True)


def test_inputs_name_the_columns():
    """Prices are named by field in TA-Lib's order, a single series is the close."""
    expected = {
        "SMA": ("close",), "OBV": ("close", "volume"), "VWMA": ("close", "volume"),
        "BOP": ("open", "high", "low", "close"), "MFI": ("high", "low", "close", "volume"),
        "ADD": ("real0", "real1"), "MAVP": ("close", "periods"), "EFI": ("close", "volume"),
        "PVO": ("volume",), "IMI": ("open", "close"),
    }  # fmt: skip
    assert {name: resolve(name, {}).inputs for name in expected} == expected


def test_parameters_are_bound_and_filled_in():
    """Names are sorted, defaults present, moving averages known by name or number."""
    macd = resolve("macd", {"slowperiod": 30.0, "fastperiod": np.int64(5)})
    assert macd.name == "MACD"
    assert macd.params == (("fastperiod", 5), ("signalperiod", 9), ("slowperiod", 30))
    assert macd.outputs == ("macd", "macdsignal", "macdhist")
    assert resolve("MA", {"matype": "ema"}) == resolve("MA", {"matype": 1})
    assert resolve("MA", {"matype": "ema"}) != resolve("MA", {})
    assert resolve("SMA", {"timeperiod": 10}).evaluate([np.arange(12.0)])[0][9] == 4.5


def test_warmup_and_span():
    """Windowed functions need their lookback, others 25 times as much; M is never below 512."""
    sma, ema = resolve("SMA", {"timeperiod": 20}), resolve("EMA", {"timeperiod": 100})
    assert (sma.lookback, sma.warmup, sma.span) == (19, 19, M_MIN)
    assert (ema.lookback, ema.warmup, ema.span) == (99, 2475, 2475)
    assert resolve("EMA", {"timeperiod": 3}).warmup == 250
    assert resolve("BBANDS", {"matype": "EMA"}).warmup == 475


@pytest.mark.parametrize(
    ("name", "params", "error", "says"),
    [
        ("SMMA", {}, UnknownFunction, "did you mean SMA"),
        ("SMA", {"timeperiods": 3}, BadParameter, "did you mean timeperiod"),
        ("SMA", {"window": 3}, BadParameter, "it takes timeperiod=30"),
        ("OBV", {"timeperiod": 3}, BadParameter, "it takes no parameters"),
        ("SMA", {"timeperiod": 0}, BadParameter, "the smallest allowed is 1"),
        ("STDDEV", {"timeperiod": 1}, BadParameter, "the smallest allowed is 2"),
        ("SMA", {"timeperiod": 10**6}, BadParameter, "the largest allowed is 100000"),
        ("SMA", {"timeperiod": -(2**31)}, BadParameter, "whole number in range"),
        ("SMA", {"timeperiod": 2.5}, BadParameter, "not a whole number"),
        ("SMA", {"timeperiod": "10"}, BadParameter, "not a whole number"),
        ("SMA", {"timeperiod": True}, BadParameter, "not a whole number"),
        ("SMA", {"timeperiod": NAN}, BadParameter, "not a whole number"),
        ("T3", {"vfactor": NAN}, BadParameter, "not a number in range"),
        ("MAMA", {"fastlimit": 3.0}, BadParameter, "fastlimit=3.0 is out of range"),
        ("MA", {"matype": "EMMA"}, BadParameter, "did you mean EMA"),
        ("MA", {"matype": 14}, BadParameter, "the largest allowed is 13"),
    ],
)
def test_wrong_names_and_parameters_are_refused(name, params, error, says):
    """An unknown function or parameter, a wrong type or range is named in one line."""
    with pytest.raises(error, match=says) as caught:
        resolve(name, params)
    assert "\n" not in str(caught.value)


def naive(name: str, bars: dict[str, np.ndarray]) -> list[float]:
    """The running totals as a textbook states them, bar by bar."""
    high, low, close, volume = (bars[k].tolist() for k in ("high", "low", "close", "volume"))
    total = {"OBV": volume[0], "NVI": 1000.0, "PVI": 1000.0}.get(name, 0.0)
    traded, paid, values = 0.0, 0.0, []
    for i in range(len(close)):
        h, lo, c, v = high[i], low[i], close[i], volume[i]
        before, volume_before = (close[i - 1], volume[i - 1]) if i else (c, v)
        if name == "CUMSUM":
            total += c
        elif name == "OBV":
            total += v * ((c > before) - (c < before))
        elif name == "PVT":
            total += (c - before) / before * v
        elif (name == "NVI" and v < volume_before) or (name == "PVI" and v > volume_before):
            total += (c - before) / before * total
        elif name == "WAD" and c != before:
            total += c - (min(lo, before) if c > before else max(h, before))
        elif name == "AD" and h > lo:
            total += ((c - lo) - (h - c)) / (h - lo) * v
        elif name == "VWAP":
            paid, traded = paid + (h + lo + c) / 3 * v, traded + v
            total = paid / traded
        values.append(total)
    return values


@pytest.mark.parametrize("name", ACCUMULATED)
def test_running_totals(name, daily):
    """Over full history a total is TA-Lib's to the bit, and that of a plain loop."""
    bars = next(iter(daily.values()))
    function = resolve(name, {})
    columns = [bars[field] for field in function.inputs]
    assert function.family is Family.ACCUMULATED
    assert np.array_equal(function.evaluate(columns)[0], getattr(ta, name)(*columns))
    assert function.accumulate(None, columns)[1][0].tolist() == naive(name, bars)


@pytest.mark.parametrize("name", ACCUMULATED)
def test_running_totals_start_at_the_first_number(name):
    """Rows before the first full one are NaN, in any piece, and the carry waits for it."""
    bars = generate(20, 8)
    function = resolve(name, {})
    columns = [bars[field].copy() for field in function.inputs]
    for column in columns:
        column[:6] = NAN
    carry, first = function.accumulate(None, [column[:4] for column in columns])
    _, second = function.accumulate(carry, [column[4:] for column in columns])
    assert np.isnan(first[0]).all()
    assert np.array_equal(second[0], getattr(ta, name)(*columns)[4:], equal_nan=True)


# --- Python functions -------------------------------------------------------------------------


def momentum(close, volume, window=3, *, scale=1.0):
    """A change over some bars, for any number of rows."""
    change = np.full(len(close), NAN)
    change[window:] = close[window:] - close[:-window]
    return change * scale + volume


@indicator(outputs=("low", "high"), lookback=lambda window: window - 1)
def channel(close, window=2):
    """The extremes of a window; it raises on fewer rows."""
    view = np.lib.stride_tricks.sliding_window_view(close, window)
    pad = np.full(window - 1, NAN)
    return np.concatenate((pad, view.min(axis=1))), np.concatenate((pad, view.max(axis=1)))


@indicator(cross_sectional=True)
def demean(panel):
    """A rank against the market."""
    return panel - np.nanmean(panel, axis=1, keepdims=True)


def test_a_python_function_binds_its_columns_and_parameters():
    """Arguments without a default are columns, the others parameters with defaults filled in."""
    function = resolve(momentum, {"window": 2})
    assert (function.name, function.inputs) == ("momentum", ("close", "volume"))
    assert function.params == (("scale", 1.0), ("window", 2))
    assert (function.family, function.lookback, function.warmup) == (Family.ANCHORED, 0, 250)
    close, volume = np.array([1.0, 2.0, 4.0]), np.zeros(3)
    assert function.evaluate([close, volume])[0][2] == 3.0


def test_a_parameter_without_default_may_be_given_by_name():
    """`def f(close, window)` with window=2 has the one column."""
    function = resolve(lambda close, window: close * window, {"window": 2})
    assert function.inputs == ("close",)
    assert function.evaluate([np.array([1.0, 2.0])])[0].tolist() == [2.0, 4.0]


def test_declared_outputs_and_lookback():
    """A function is never called with fewer rows than its lookback leaves a value for."""
    function = resolve(channel, {"window": 3})
    assert (function.outputs, function.lookback, function.warmup) == (("low", "high"), 2, 250)
    assert np.isnan(function.evaluate([np.array([1.0, 2.0])])).all()
    low, high = function.evaluate([np.array([NAN, 5.0, 1.0, 3.0, 4.0])])
    assert np.isnan(low[:3]).all()
    assert (low[3:].tolist(), high[3:].tolist()) == ([1.0, 1.0], [5.0, 4.0])


def test_a_cross_sectional_function_sees_panels():
    """Its columns are [time, symbol]; a symbol without a bar stays NaN."""
    function = resolve(demean, {})
    assert function.family is Family.CROSS_SECTIONAL
    (values,) = function.evaluate([np.array([[1.0, 3.0], [NAN, 5.0]])])
    assert np.array_equal(values, np.array([[-1.0, 1.0], [NAN, 0.0]]), equal_nan=True)


def test_any_number_of_columns():
    """`*columns` takes as many as are given."""
    function = resolve(lambda *legs: sum(legs), {})
    assert function.inputs == ()
    assert function.evaluate([np.ones(2)] * 3)[0].tolist() == [3.0, 3.0]


def test_library_and_numba_functions():
    """NumPy's functions count by name, numba's are called compiled."""

    @numba.njit
    def halve(x):
        return x / 2

    assert resolve(np.subtract, {}).evaluate([np.ones(2), np.ones(2)])[0].tolist() == [0.0, 0.0]
    assert "numpy.log" in resolve(np.log, {}).identity
    assert resolve(halve, {}).evaluate([np.array([4.0])])[0].tolist() == [2.0]


def test_integers_and_booleans_become_float64():
    """A signal may be a comparison."""
    (values,) = resolve(lambda x: x > 1, {}).evaluate([np.array([1.0, 2.0])])
    assert values.dtype == np.float64
    assert values.tolist() == [0.0, 1.0]


def test_a_function_cannot_touch_or_keep_its_columns():
    """Columns are read-only to it, and a result is never a view of one."""
    column = np.ones(3)

    def spoil(x):
        x[0] = 7.0
        return x

    with pytest.raises(StrategyError, match=r"spoil raised ValueError.*read-only"):
        resolve(spoil, {}).evaluate([column])
    (same,) = resolve(lambda x: x, {}).evaluate([column])
    same[0] = 9.0
    assert column.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("func", "says"),
    [
        (lambda x: x[1:], r"shape \(3,\), expected numbers of the columns' shape \(4,\)"),
        (lambda x: x.astype(str), "is <U"),
        (lambda x: None, "is object"),
        (lambda x: (x, x), "returned 2 outputs, expected 1"),
        (lambda x: x[99], r"raised IndexError: .*\(line \d+, in <lambda>\)$"),
    ],
)
def test_a_function_that_fails_is_named_in_one_line(func, says):
    """What the user's function raises or wrongly returns becomes one StrategyError."""
    with pytest.raises(StrategyError, match=says) as caught:
        resolve(func, {}).evaluate([np.ones(4)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("func", "params", "says"),
    [
        (momentum, {"windw": 2}, r"no parameter 'windw' \(did you mean window\?\)"),
        (momentum, {"window": np.ones(2)}, "parameter 'window' is a ndarray"),
        (momentum, {"window": {1}}, "parameter 'window' is a set"),
        (lambda close, *, window: close, {}, "needs a value for window"),
        (lambda window=1: window, {}, "takes no column"),
        (lambda close, **rest: close, {}, r"takes \*\*rest"),
        (np.ones(3).sum, {}, "pass a function"),
        (12, {}, "pass a TA-Lib name or a function"),
    ],
)
def test_wrong_functions_and_parameters_are_refused(func, params, says):
    """A parameter that is unknown, missing or without stable text is refused by name."""
    with pytest.raises(BadParameter, match=says):
        resolve(func, params)


# --- identity ---------------------------------------------------------------------------------

STRATEGY = """
from enum import Enum
import numpy as np
import sizes
from streambt_spark.core.indicators.library import indicator, resolve

class Side(Enum):
    LONG = 1

LIMITS = (1, 2.5, "x", None, True)

def helper(x, n=2):
    return other(x) * n if n in {1, 2, 3, "a", "b"} else x

def other(x):
    return helper(x, 9) if LIMITS[0] > 9 else x + Side.LONG.value * sizes.scaled(x)

def make(level):
    return lambda x: helper(x) + level

@indicator(outputs=("one", "two"), lookback=lambda n: n, commutative=True)
def signal(a, b, n=3, side=Side.LONG):
    return helper(a), np.sign(b) * n

for function in (signal, make(3), make(4)):
    print(resolve(function, {}).identity)
"""


def identities(folder: Path, seed: str, factor: float) -> str:
    """Identities of the strategy's functions, printed by a new process."""
    (folder / "strategy.py").write_text(STRATEGY)
    (folder / "sizes.py").write_text(f"FACTOR = {factor}\ndef scaled(x):\n    return x * FACTOR\n")
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, str(folder / "strategy.py")]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_identity_is_the_same_in_every_process(tmp_path):
    """Hash seeds, addresses and the folder do not enter it; what a helper module does, does."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    text = identities(first, "0", 0.5)
    assert text == identities(second, "77", 0.5)
    assert text != identities(second, "77", 0.25)
    assert "0x" not in text


def test_identity_tells_functions_apart():
    """Source, parameters, captured values and types count; two lambdas on a line are two."""

    def scaled(factor):
        return lambda x: x * factor

    pair = (lambda x: x + 1, lambda x: x + 2)
    different = [
        resolve(pair[0], {}),
        resolve(pair[1], {}),
        resolve(scaled(1), {}),
        resolve(scaled(1.0), {}),
        resolve(scaled(True), {}),
        resolve(momentum, {"window": 2}),
        resolve(momentum, {"window": 3}),
        resolve("SMA", {"timeperiod": 2}),
    ]
    assert len(set(different)) == len(different)
    assert resolve(momentum, {}) == resolve(momentum, {"window": 3})
    assert hash(resolve(scaled(2), {})) == hash(resolve(scaled(2), {}))


def test_identity_without_source():
    """A function made by exec is told by its bytecode."""
    spaces: list[dict[str, object]] = [{}, {}, {}]
    for space, body in zip(spaces, ("x + 1", "x + 1", "x + 2"), strict=True):
        exec(f"def f(x):\n    return {body}", space)  # noqa: S102
    texts = [identity_of(space["f"]) for space in spaces]
    assert texts[0] == texts[1] != texts[2]


def test_what_a_function_captures_must_have_a_stable_text():
    """A captured array is refused, with the way out."""
    weights = np.ones(3)
    with pytest.raises(BadParameter, match=r"'weights' from outside.*pass it .* as a parameter"):
        resolve(lambda x: x * weights.sum(), {})


def test_parameters_are_canonical():
    """NumPy scalars and lists equal Python's numbers and tuples; enums keep their name."""

    class Mode(Enum):
        FAST = 1

    def f(x, mode=None):
        return x

    assert resolve(f, {"mode": np.int64(3)}) == resolve(f, {"mode": 3})
    assert resolve(f, {"mode": [1, 2]}) == resolve(f, {"mode": (1, 2)})
    assert len({resolve(f, {"mode": m}) for m in (Mode.FAST, 1, 1.0, True, "1", (1,))}) == 6


def test_functions_travel():
    """A pickled function is equal and gives the same values."""
    level, column = 3, np.arange(40.0)
    for function in (
        resolve("RSI", {}),
        resolve("CUMSUM", {}),
        resolve("CDLDOJI", {}),
        resolve(lambda x: x + level, {}),
    ):
        copy = cloudpickle.loads(cloudpickle.dumps(function))
        columns = [column] * len(function.inputs)
        assert copy == function
        assert (copy.inputs, copy.params, copy.span) == (
            function.inputs,
            function.params,
            function.span,
        )
        assert np.array_equal(
            copy.evaluate(columns)[0], function.evaluate(columns)[0], equal_nan=True
        )


# --- checks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "func",
    [
        lambda x: np.append(x[1:], 0.0),
        lambda x: x - x.mean(),
        lambda x: x / x[-1],
        lambda x: (x - np.nanmin(x)) / (np.nanmax(x) - np.nanmin(x)),
        lambda x: np.argsort(np.argsort(x)),
        lambda x: np.maximum.accumulate(x[::-1])[::-1],
        lambda x: np.gradient(x) if len(x) > 1 else x * 0,
    ],
)
def test_look_ahead_is_found(func):
    """A value that moves when later rows are cut or changed is an error naming function and row."""
    with pytest.raises(LookAheadError, match=r"<lambda> looks ahead: 'real' at row \d+"):
        check_causal(resolve(func, {}))


def test_causal_functions_pass():
    """Rolling, recursive, cross-sectional and many-columned functions are let through."""
    for func in (momentum, channel, demean, np.log, lambda *legs: legs[0] - legs[1]):
        check_causal(resolve(func, {}))
        check_memory(resolve(func, {}))


def test_rounding_that_depends_on_the_length_is_look_ahead():
    """np.convolve swaps its operands for short inputs; with its lookback declared it is fine."""

    def smooth(x, window=5):
        return np.convolve(x, np.ones(window) / window)[: len(x)]

    with pytest.raises(LookAheadError, match=r"rounds differently.*declare the lookback"):
        check_causal(resolve(smooth, {}))
    declared = indicator(lookback=lambda window: window)(smooth)
    check_causal(resolve(declared, {}))


def test_a_check_reports_what_the_function_raises():
    """A function that cannot run on a short series says so before any run."""
    with pytest.raises(StrategyError, match=r"raised IndexError.*here 1: handle any number"):
        check_causal(resolve(lambda x: x + x[5], {}))


def test_a_memory_longer_than_the_warmup_is_found():
    """A function that needs more bars than the default must say so; one that says so may."""

    def mean(x, window=400):
        total = np.cumsum(x)
        return (total - np.concatenate((np.zeros(window), total[:-window]))) / window

    with pytest.raises(BadParameter, match="more than the 250 bars of its warm-up"):
        check_memory(resolve(mean, {}))
    with pytest.raises(BadParameter, match="more than the 250 bars"):
        check_memory(resolve(np.cumsum, {}))
    declared = resolve(indicator(warmup=lambda window: window)(mean), {})
    assert (declared.warmup, declared.span) == (400, M_MIN)
    check_memory(declared)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"outputs": ("a", "a")}, "different names"),
        ({"outputs": ()}, "one or more"),
        ({"lookback": -1}, "lookback is -1"),
        ({"warmup": 2.5}, "warmup is 2.5"),
        ({"lookback": lambda window: window // 0}, "lookback raised ZeroDivisionError"),
    ],
)
def test_wrong_options_are_refused(options, says):
    """What the decorator is told is checked."""
    with pytest.raises(BadParameter, match=says):
        resolve(indicator(**options)(lambda x, window=1: x), {})
