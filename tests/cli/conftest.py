"""A command as a user runs it: in a process and a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streambt_spark.config import PREFIX

Command = Callable[..., "subprocess.CompletedProcess[str]"]

STRATEGY = """
import numpy as np

from streambt_spark.allocation import PercentOfEquity


def cross(fast, slow):
    return np.sign(fast - slow)


def build(cerebro, bars, fast=2, slow=3):
    means = [cerebro.add_indicator("SMA", bars["close"], timeperiod=n) for n in (fast, slow)]
    cerebro.add_strat(cerebro.add_indicator(cross, *means), PercentOfEquity(0.4))
"""

BARS = """symbol,ts,open,high,low,close,volume
A,2024-01-01,10,12,9,11,100
B,2024-01-01,20,21,19,20,100
A,2024-01-02,11,13,10,12,100
B,2024-01-02,20,20,18,19,100
A,2024-01-03,12,14,11,13,100
B,2024-01-03,19,19,17,18,100
A,2024-01-04,13,14,10,11,100
B,2024-01-04,18,22,18,21,100
A,2024-01-05,11,12,9,10,100
B,2024-01-05,21,24,21,23,100
A,2024-01-06,10,11,8,9,100
B,2024-01-06,23,25,22,24,100
A,2024-01-07,9,12,9,12,100
B,2024-01-07,24,24,20,21,100
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder with a strategy file and a file of bars."""
    (tmp_path / "sma.py").write_text(STRATEGY)
    (tmp_path / "bars.csv").write_text(BARS)
    return tmp_path


@pytest.fixture
def streambt(place: Path) -> Command:
    """Run `streambt` with these words in the folder; environment variables by keyword."""

    def run(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
        return subprocess.run(
            [sys.executable, "-c", "from streambt_spark.cli import main; main()", *words],
            cwd=place,
            env=inherited | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run
