"""What the package offers by name, and what importing it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import streambt_spark
from streambt_spark import allocation


@pytest.mark.parametrize("name", streambt_spark.__all__)
def test_every_name_is_there(name: str) -> None:
    """Each name of __all__ can be had, and is what it is called."""
    assert getattr(streambt_spark, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    """So that hasattr and copy work as anywhere."""
    with pytest.raises(AttributeError, match="'streambt_spark' has no attribute 'Cerebra'"):
        _ = streambt_spark.Cerebra


def test_allocations_are_public() -> None:
    """The allocations a strategy file imports."""
    assert set(allocation.__all__) >= {
        "AllIn",
        "EqualWeight",
        "FixedSize",
        "PercentOfEquity",
        "TargetPercent",
    }
    assert all(hasattr(allocation, name) for name in allocation.__all__)


def test_the_core_loads_neither_pandas_nor_spark() -> None:
    """A worker that folds slices pays for NumPy, numba and TA-Lib alone."""
    code = (
        "import sys, streambt_spark.core.state, streambt_spark.core.ledger.audit;"
        "print(sorted({'pandas', 'pyspark', 'pyarrow', 'pymongo'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
