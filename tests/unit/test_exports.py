"""What the package offers by name, and what importing it does not load."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import streambt_spark

PACKAGE = Path(streambt_spark.__file__).parent
PUBLIC = {
    "allocation", "assembly", "cerebro", "config", "doctor", "errors", "masking", "progress",
    "settings", "strategy_file",
}  # fmt: skip
"""The modules that have a promise to keep beside the package itself."""


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield a module's statements, also those behind a condition."""
    for node in body:
        if isinstance(node, ast.If):
            yield from _top(node.body + node.orelse)
        else:
            yield node


def _offered(module: str) -> set[str]:
    """Return the public names that a module defines; of one that defines none, those it imports."""
    defined, imported = set(), set()
    for node in _top(ast.parse((PACKAGE / f"{module}.py").read_text()).body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("streambt_spark"):
            imported |= {alias.asname or alias.name for alias in node.names}
    defined = {name for name in defined if not name.startswith("_")}
    return defined or imported


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_all_is_what_a_module_offers(module: str) -> None:
    """`__all__` names what can be imported and nothing less; ruff keeps it sorted."""
    loaded = importlib.import_module(f"streambt_spark.{module}")
    assert set(loaded.__all__) == _offered(module)
    assert [name for name in loaded.__all__ if not hasattr(loaded, name)] == []


def test_all_of_the_package_is_there() -> None:
    """Each name can be had, is what it is called, and stands for what dir() shows."""
    for name in set(streambt_spark.__all__) - {"__version__"}:
        assert getattr(streambt_spark, name).__name__ == name
    assert set(streambt_spark._HOMES) | {"__version__"} == set(streambt_spark.__all__)
    assert set(streambt_spark.__all__) <= set(dir(streambt_spark))


def test_the_version_is_the_installed_one() -> None:
    """One place says it: pyproject.toml."""
    assert streambt_spark.__version__ == version("streambt-spark")


def test_the_package_says_that_it_is_typed() -> None:
    """A type checker reads the annotations of an installed package where py.typed is beside it."""
    assert (PACKAGE / "py.typed").read_bytes() == b""


def test_an_unknown_name_is_an_attribute_error() -> None:
    """So that hasattr and copy work as anywhere."""
    with pytest.raises(AttributeError, match="'streambt_spark' has no attribute 'Cerebra'"):
        _ = streambt_spark.Cerebra


def test_the_core_loads_neither_pandas_nor_spark() -> None:
    """A worker that folds slices pays for NumPy, numba and TA-Lib alone."""
    code = (
        "import sys, streambt_spark.core.state, streambt_spark.core.ledger.audit;"
        "print(sorted({'pandas', 'pyspark', 'pyarrow', 'pymongo'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
