"""Made-up bars."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from streambt_spark.core.market.bars import FIELDS, Bars
from streambt_spark.core.market.faults import find_faults
from streambt_spark.errors import BadParameter
from streambt_spark.stores.generator import generate


def of(bars: Bars, symbol: str) -> dict[str, list[float]]:
    """Return one symbol's columns."""
    mask = bars.code == bars.symbols.index(symbol)
    return {name: getattr(bars, name)[mask].tolist() for name in ("ts", *FIELDS)}


@pytest.mark.parametrize("interval", ["1m", "1h", "1d"])
def test_every_bar_is_valid_and_on_the_tick(interval: str) -> None:
    """Prices keep low ≤ open, close ≤ high, are positive and whole hundredths."""
    bars = generate(5, 2_000, interval)
    assert not find_faults(bars.ts, {n: getattr(bars, n) for n in FIELDS}, interval).any()
    assert np.array_equal(bars.close, np.rint(bars.close * 100) / 100)


def test_more_bars_and_other_symbols_change_no_history() -> None:
    """A symbol's first bars are the same in a longer run and beside other symbols."""
    short, long = generate(["A"], 100, gaps=0.1), generate(["A", "B"], 300, gaps=0.1)
    head = {name: values[: len(short)] for name, values in of(long, "A").items()}
    assert head == of(short, "A")


def test_another_process_makes_the_same_bars() -> None:
    """The digest does not depend on the process or its hash seed."""
    code = "from streambt_spark.stores.generator import generate as g; print(g(3, 50).digest())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == generate(3, 50).digest()


def test_seeds_and_symbols_differ() -> None:
    """Another seed or name gives another path."""
    digests = {generate(["A"], 50, seed=s).digest() for s in range(5)}
    assert len(digests) == 5
    assert of(generate(["A", "B"], 50), "A")["close"] != of(generate(["A", "B"], 50), "B")["close"]


def test_gaps_leave_out_their_share() -> None:
    """Of 10,000 bars with gaps of 0.2 between 1,800 and 2,200 are missing, never two of one key."""
    bars = generate(["A"], 10_000, "1m", gaps=0.2)
    assert 1_800 < 10_000 - len(bars) < 2_200
    assert np.all(np.diff(bars.ts) > 0)


@pytest.mark.parametrize(
    "arguments", [{"bars": 0}, {"gaps": 1.0}, {"seed": -1}, {"symbols": ["a b"]}, {"symbols": []}]
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, object]) -> None:
    """Bad arguments raise BadParameter."""
    with pytest.raises(BadParameter):
        generate(**{"symbols": ["A"], "bars": 5, **arguments})  # type: ignore[arg-type]
