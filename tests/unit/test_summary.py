"""Summaries: folded in any portions, exact, and the same from their text."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest

from streambt_spark.core.ledger.lots import open_lots
from streambt_spark.core.ledger.metrics import Metrics, measure
from streambt_spark.core.ledger.summaries import Curve, from_text, summarise, to_text
from streambt_spark.core.ledger.summary import (
    SUMMARY,
    exact,
    finish,
    observe_equity,
    observe_fill,
    open_summary,
    total,
)
from streambt_spark.errors import DataError
from tests.ledgers import DAY, no_fills


def curve_of(equity: list[int], exposure: int = 0) -> Curve:
    """Return a slice a day, each the end of a session."""
    days = np.arange(len(equity))
    held = np.full(len(equity), exposure)
    return Curve(days * DAY, days, np.array(equity, np.int64), held)


def summary_of(equity: list[int], initial: int, exposure: int = 0) -> np.void:
    """Return the summary of an account without fills."""
    rows, none = np.array([0, len(equity)]), np.zeros(2, np.int64)
    curve = curve_of(equity, exposure)
    return summarise(np.array([initial]), curve, rows, no_fills(), none, 1)[0]


def figures_of(equity: list[int], initial: int) -> Metrics:
    """Return the metrics of an account without fills, annualised by 1."""
    return measure(summary_of(equity, initial), periods_per_year=1, calendar="24/7")


def spread_of(equity: list[int], initial: int) -> float:
    """Return the sample deviation of the returns as floats have them, without any further error."""
    path = [initial, *equity]
    returns = [
        Fraction((after - before) / before) for before, after in zip(path, equity, strict=False)
    ]
    mean = sum(returns) / len(returns)
    variance = sum((r - mean) ** 2 for r in returns) / (len(returns) - 1)
    return math.sqrt(variance)


AWKWARD = {
    "a cent a day on a fortune": [10**15 + n % 3 for n in range(500)],
    "nearly equal returns": [round(10**12 * 1.001**n) for n in range(1, 2_000)],
    "the first return an outlier": [10**6 * (10**6 + n % 7) for n in range(1_000)],
    "a crash and back": [10**11, 10**3, 10**12, 10**3, 10**12],
    "beyond what floats hold exactly": [2**60 + n * n for n in range(300)],
    "returns that cancel": [10**12 + (-1) ** n * 10**5 for n in range(5_000)],
}


@pytest.mark.parametrize("name", AWKWARD)
def test_volatility_of_awkward_paths(name: str) -> None:
    """One pass over the returns is as good as exact arithmetic over all of them."""
    equity = AWKWARD[name]
    found = figures_of(equity, 10**12).volatility
    assert found == pytest.approx(spread_of(equity, 10**12), rel=1e-11)


def test_integer_sums_are_exact_beyond_64_bits() -> None:
    """Session ends of 2⁶² and its negative sum to the last unit."""
    summary = summary_of([2**62 - 1] * 9 + [-(2**62)] * 2, 1)
    assert exact(summary, "equities") == 9 * (2**62 - 1) - 2 * 2**62


def test_float_sums_keep_what_rounding_leaves() -> None:
    """A million exposures of a tenth are a hundred thousand, not 1.3e-8 more."""
    summary = summary_of([10] * 1_000_000, 10, exposure=1)
    assert total(summary, "exposure") == math.fsum([0.1] * 1_000_000)
    assert total(summary, "exposure") == 100_000.0


def test_a_session_ends_with_its_last_slice() -> None:
    """A session counts once, with its last slice, and only when the next begins or all is over."""
    summary = open_summary(100)
    for ts, equity, session in ((0, 90, 0), (1, 110, 0), (2, 120, 1)):
        observe_equity(summary[0], ts, equity, 0, session)
    assert (summary["periods"][0], summary["before"][0], summary["peak_ts"][0]) == (1, 110, 1)
    finish(summary[0])
    assert (summary["periods"][0], summary["before"][0], summary["peak_ts"][0]) == (2, 120, 2)


def test_finishing_twice_changes_nothing() -> None:
    """A stream may tell more than once that it has ended."""
    summary = summary_of([100, 120], 100)
    again = np.array([summary], SUMMARY)
    finish(again[0])
    assert again.tobytes() == summary.tobytes()


def test_a_round_trip() -> None:
    """Bought for 100 and sold for 110, fees of 50 and 20 cents: 9.30 won, 210 traded, 3 days."""
    summary, lots = open_summary(10_000), open_lots(symbols=1, room=2)
    observe_fill(summary[0], lots, 0, 0, 1, 5.0, 50, -10_050)
    assert summary["trades"][0] == 0
    observe_fill(summary[0], lots, 3 * DAY, 0, -1, 5.0, 20, 10_980)
    sums = ("won", "lost", "traded", "commissions", "held")
    assert [exact(summary[0], name) for name in sums] == [930, 0, 21_000, 70, 3 * DAY]
    assert (summary["trades"][0], summary["best"][0], summary["worst"][0]) == (1, 930, 930)


def test_text_has_every_bit() -> None:
    """A summary comes back from its text as it was, however large its sums."""
    summary = summary_of([2**62, 3, -(2**62), 7], 10**15, exposure=1)
    again = from_text(to_text(summary))
    assert (again.dtype, again.tobytes()) == (SUMMARY, summary.tobytes())
    assert to_text(again[0]) == to_text(summary)


def test_text_is_plain_json() -> None:
    """Any program can read it: numbers by name, the version first, no number that JSON lacks."""
    text = to_text(summary_of([110, 99], 100))
    told = json.loads(text)
    assert text.startswith('{"version":1,"initial":100,"slices":2,')
    assert (told["before"], told["equities"], told["peak"]) == (99, 209, 110)
    assert json.dumps(told, allow_nan=False, separators=(",", ":")) == text


@pytest.mark.parametrize("text", ["", "[]", "3", '{"slices":1}', "no summary"])
def test_other_text_is_refused(text: str) -> None:
    """What is no summary is named."""
    with pytest.raises(DataError, match="expected the text of a summary"):
        from_text(text)


@pytest.mark.parametrize("change", [{"version": 2}, {"slices": None}, {"unknown": 1}])
def test_another_version_is_refused(change: dict[str, object]) -> None:
    """A summary with other figures than this version's is not guessed at."""
    told = json.loads(to_text(summary_of([1], 1)))
    other = {k: v for k, v in {**told, **change}.items() if v is not None}
    with pytest.raises(DataError, match=r"of version 1, found version \d; run again"):
        from_text(json.dumps(other))
