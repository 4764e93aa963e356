"""The run-time proof: values that later bars would change stop the run, whatever the batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from streambt_spark.core.indicators.evaluation import compute
from streambt_spark.core.indicators.features import open_features
from streambt_spark.core.indicators.function import Family, Function
from streambt_spark.core.indicators.graph import DATA, Graph, Node, Ref, compile_graph
from streambt_spark.core.indicators.library import indicator, resolve
from streambt_spark.core.indicators.program import compile_program
from streambt_spark.core.market.panel import Panel
from streambt_spark.errors import LookAheadError, StrategyError

MINUTE, DAY = 60_000_000, 86_400_000_000
SESSION = 60
Array = np.ndarray


def minutes(slices: int, symbols: int = 2, gaps: bool = False) -> Panel:
    """Return minute bars in sessions of an hour, of prices in cents that often lie still."""
    number = np.arange(slices)
    ts = number // SESSION * DAY + number % SESSION * MINUTE + 15 * 60 * MINUTE
    walk = np.cumsum(np.random.default_rng(5).integers(-3, 4, (slices, symbols)), axis=0)
    close = np.round(100 + np.abs(walk - walk.min()) / 100 + np.arange(symbols), 2)
    present = np.ones(close.shape, bool)
    if gaps:
        present[np.random.default_rng(6).random(close.shape) < 0.2] = False
        present[:, 0] |= ~present.any(axis=1)
    fields = (np.where(present, column, np.nan) for column in (close,) * 4 + (close * 0 + 100,))
    return Panel(tuple("ABCDEFGHIJ"[:symbols]), ts, present, *fields)


def portions(panel: Panel, size: int) -> Iterator[Panel]:
    """Yield the slices, so many at a time."""
    names = ("open", "high", "low", "close", "volume")
    for first in range(0, len(panel.ts), size):
        rows = slice(first, first + size)
        columns = (np.ascontiguousarray(getattr(panel, name)[rows]) for name in names)
        yield Panel(panel.symbols, panel.ts[rows], panel.present[rows].copy(), *columns)


def nodes_of(func: Callable[..., Any] | Function, *, pointwise: bool = False) -> tuple[Node, ...]:
    """Return the node of a function that no check has seen."""
    function = func if isinstance(func, Function) else resolve(func, {})
    if pointwise:
        function = replace(function, family=Family.POINTWISE)
    graph = Graph()
    graph.add(function, [DATA[name] for name in function.inputs])
    return compile_graph(graph).nodes


def run(nodes: tuple[Node, ...], panel: Panel, size: int, *, prove: bool = True) -> list[Array]:
    """Return all values, evaluated so many slices at a time."""
    program = compile_program(nodes, prove=prove)
    features, pieces = open_features(program, len(panel.symbols)), []
    for part in portions(panel, size):
        features, values = compute(program, features, part)
        pieces.append(values)
    return [np.concatenate([p[ref] for p in pieces], axis=1) for ref in pieces[0]]


def following(close: Array) -> Array:
    """Return the next row's value."""
    return np.append(close[1:], close[-1:])


def flat_at_the_close(close: Array, ts: Array) -> Any:
    """Leave on the day's last bar, which is known from the next one."""
    day = ts // DAY
    return np.where(np.append(day[1:] != day[:-1], False), -1.0, 1.0)


def days_high(close: Array, ts: Array) -> Any:
    """Return the high of the whole day."""
    day = (ts // DAY).astype(int)
    _, number = np.unique(day, return_inverse=True)
    high = np.full(number.max() + 1, -np.inf)
    np.maximum.at(high, number, close)
    return high[number]


def rarely(close: Array, ts: Array) -> Any:
    """Look ahead on one bar of each day."""
    minute = ts // MINUTE % (24 * 60)
    return np.where(minute == 15 * 60 + 30, following(close), 0.0)


def late(close: Array, ts: Array) -> Any:
    """Look ahead after a date."""
    return np.where(ts > 40 * DAY, np.sign(following(close) - close), 0.0)


def centred(close: Array) -> Any:
    """Take a mean around each row."""
    out = np.full(len(close), np.nan)
    if len(close) > 4:
        out[2:-2] = np.convolve(close, np.ones(5) / 5, "valid")
    return out


@indicator(cross_sectional=True)
def backfilled(close: Array) -> Any:
    """Fill the gaps of a panel from behind."""
    filled = close.copy()
    for row in range(len(filled) - 2, -1, -1):
        filled[row] = np.where(np.isnan(filled[row]), filled[row + 1], filled[row])
    return filled


@indicator(cross_sectional=True)
def overall(close: Array) -> Any:
    """Measure against the mean of the whole panel."""
    return np.sign(close - np.nanmean(close))


LOOKING_AHEAD = (flat_at_the_close, days_high, rarely, late, centred, backfilled, overall)


@pytest.mark.parametrize("size", [1, 7, 300, 10_000])
@pytest.mark.parametrize("func", LOOKING_AHEAD, ids=lambda f: f.__name__)
def test_what_passed_the_check_is_stopped_in_any_batches(
    func: Callable[..., Any], size: int
) -> None:
    """At a batch's end or at a cut, with the name, the symbol, the time and both values."""
    panel = minutes(3_600 if func is late else 1_200, gaps=func is backfilled)
    says = rf"{func.__name__} looks ahead: 'real' of [AB] .* UTC was .* and is .* the run was stopp"
    with pytest.raises(LookAheadError, match=says) as caught:
        run(nodes_of(func), panel, size)
    assert "\n" not in str(caught.value)


def test_a_long_run_is_stopped_too() -> None:
    """Where cuts are rare most of them follow a change: late look-ahead among 400,000 rows."""
    panel = minutes(40_000, symbols=10)

    def changing(close: Array, ts: Array) -> Any:
        ahead = (ts > 500 * DAY) & (ts // MINUTE % 10 == 0)
        return np.where(ahead, np.sign(following(close) - close), 0.0)

    with pytest.raises(LookAheadError, match="looks ahead"):
        run(nodes_of(changing), panel, 8192)


def test_the_place_is_told() -> None:
    """Of a value in an earlier batch the distance is, for its time is not kept."""
    with pytest.raises(LookAheadError, match=r"of A at 1970-01-01T15:59:00.000000 UTC was 1.0 and"):
        run(nodes_of(flat_at_the_close), minutes(120, symbols=1), 120)
    with pytest.raises(LookAheadError, match=r"of A 1 bars before 1970-01-02T15:00:00.000000 UTC"):
        run(nodes_of(flat_at_the_close), minutes(120, symbols=1), 60)


def test_rounding_is_told_from_looking_ahead() -> None:
    """With what to do about it."""

    def spectral(close: Array) -> Any:
        return np.fft.irfft(np.fft.rfft(close), len(close)) if len(close) > 1 else close * 1.0

    says = r"spectral rounds differently as bars come: .* It does not look ahead"
    for size in (1, 600):
        with pytest.raises(LookAheadError, match=says):
            run(nodes_of(spectral), minutes(600), size)


@pytest.mark.parametrize("size", [1, 600])
def test_chance_is_not_taken_for_looking_ahead(size: int) -> None:
    """A function that gives other values for the same rows is told as such."""
    for pointwise in (False, True):
        with pytest.raises(StrategyError, match="differs from call to call for the same rows"):
            run(nodes_of(lambda close: np.random.rand(len(close)), pointwise=pointwise),
                minutes(600), size)  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 600])
@pytest.mark.parametrize(
    "func",
    [
        lambda close: np.append(close[:1], close[:-1]),
        lambda close: following(close),
        lambda close: close - close.mean(),
        lambda close: np.where(close > 100.2, np.append(close[:1], close[:-1]), 0.0),
        lambda close: close * len(close),
    ],
)
def test_what_only_seemed_pointwise_is_stopped(func: Callable[..., Any], size: int) -> None:
    """Among other rows it gives other values; one symbol, slice by slice, is enough to tell."""
    nodes = nodes_of(func, pointwise=True)
    with pytest.raises(LookAheadError, match="seemed to depend on its own row alone and does not"):
        run(nodes, minutes(600, symbols=1), size)


def test_an_accumulated_function_is_split_at_run_time() -> None:
    """One whose carry forgets is stopped."""

    @indicator(accumulated=True)
    def forgetful(carry: Array | None, close: Array) -> Any:
        return np.zeros(1), np.maximum.accumulate(close)

    with pytest.raises(LookAheadError, match="forgetful looks ahead"):
        run(nodes_of(forgetful), minutes(600), 600)


@indicator(accumulated=True)
def top(carry: Array | None, close: Array) -> Any:
    """Return the highest so far."""
    start = -np.inf if carry is None else carry[0]
    found = np.fmax.accumulate(np.append(start, close))[1:]
    return found[-1:], found


def change(close: Array) -> Any:
    """Return the sign of the change."""
    return np.sign(np.diff(close, prepend=np.nan))


@indicator(cross_sectional=True)
def best(close: Array) -> Any:
    """Return 1 for the highest of a slice."""
    return np.where(close == np.nanmax(close, axis=1, keepdims=True), 1.0, -1.0)


@pytest.mark.parametrize("func", [top, change, best, lambda close: np.sign(close - 100.3)])
def test_the_proof_changes_no_value(func: Callable[..., Any]) -> None:
    """With it and without, in any batches, the bits are the same."""
    pointwise = not hasattr(func, "__wrapped__") and func.__name__ == "<lambda>"
    nodes, panel = nodes_of(func, pointwise=pointwise), minutes(1_300, gaps=True)
    (plain,) = run(nodes, panel, 1_300, prove=False)
    for size in (1, 100, 1_300):
        (proven,) = run(nodes, panel, size)
        assert proven.tobytes() == plain.tobytes()


def test_small_runs_are_checked_densely() -> None:
    """All changes of a pulse, and more than a thousand rows of a value that always changes."""
    calls: list[int] = []

    def counted(columns: Any) -> Any:
        calls.append(len(columns[0]))
        return (columns[0] * 2,)

    for func, least in ((change, 0), (lambda close: close * 2, 1_000)):
        function = resolve(func, {})
        kernel = function.kernel
        original = kernel.call  # type: ignore[attr-defined]

        def call(close: Array, original: Any = original) -> Any:
            calls.append(len(close))
            return original(close)

        function = replace(function, kernel=replace(kernel, call=call))  # type: ignore[type-var]
        calls.clear()
        run(nodes_of(function), minutes(6_000, symbols=5), 6_000)
        windows = 5 * -(-6_000 // 512)
        assert least <= len(calls) - windows < 3_000


def test_functions_with_other_parameters_share_the_cuts() -> None:
    """A sweep of a hundred is not checked a hundred times as much."""
    calls: list[int] = []

    def lagged(close: Array, lag: int = 1) -> Any:
        return np.append(np.full(min(lag, len(close)), np.nan), close[:-lag])

    graph = Graph()
    for lag in range(1, 51):
        function = resolve(lagged, {"lag": lag})
        original = function.kernel.call  # type: ignore[attr-defined]

        def call(close: Array, original: Any = original, **params: Any) -> Any:
            calls.append(len(close))
            return original(close, **params)

        kernel = replace(function.kernel, call=call)  # type: ignore[type-var]
        graph.add(replace(function, kernel=kernel), [DATA["close"]])
    run(compile_graph(graph).nodes, minutes(6_000, symbols=5), 6_000)
    assert len(calls) - 50 * 5 * 12 < 3_000


def test_hashes_are_kept_of_what_may_be_evaluated_again() -> None:
    """Of a span that is not full yet; of a full one nothing is left to prove."""
    nodes = nodes_of(change)
    program = compile_program(nodes)
    features = open_features(program, 2)
    for part in portions(minutes(512), 511):
        features, _ = compute(program, features, part)
        assert bool(features.published.any()) == (features.slices == 511)
    assert list(program.slots) == [Ref("bars", "close"), Ref(nodes[0].identity, "real")]
