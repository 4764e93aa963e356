"""Errors: one tree, drawn where it is read, whose members keep what they are about."""

from __future__ import annotations

import pickle
import re

import pytest
from pyspark import cloudpickle

from streambt_spark import errors
from streambt_spark.errors import (
    BadParameter,
    Details,
    NoData,
    StoreError,
    StoreUnavailable,
    StreambtError,
    Transient,
    UnknownColumn,
)

DETAILS: Details = {
    "option": "--cash", "function": "SMA", "parameter": "timeperiod", "column": "close",
    "symbol": "AAPL", "ts": 1_700_000_000_000_000, "row": 3, "address": "bars.csv", "line": 12,
    "lane": "a1",
}  # fmt: skip


def _classes(root: type[StreambtError] = StreambtError) -> list[type[StreambtError]]:
    below = [leaf for child in root.__subclasses__() for leaf in _classes(child)]
    ours = [root] if root.__module__ == errors.__name__ else []
    return list(dict.fromkeys([*ours, *below]))


def _drawn() -> dict[str, tuple[str | None, int, frozenset[str]]]:
    """Return name → parent, exit code and further parents, as the module's docstring draws them."""
    drawn: dict[str, tuple[str | None, int, frozenset[str]]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│├└─ ]*)([A-Z]\w+) +(?:exit (\d+))?(.*)$", line)
        if found is None or not (found[1] if drawn else found[3]):
            continue
        above = [*above[: len(found[1]) // 4], found[2]]
        parent = above[-2] if found[1] else None
        code = int(found[3]) if found[3] else drawn[parent or ""][1]
        drawn[found[2]] = (parent, code, frozenset(re.findall(r"; an? (\w+) too", found[4])))
    return drawn


def test_the_tree_is_drawn_as_it_is() -> None:
    """The docstring's names, parents and exit codes are those of the classes."""
    real = {}
    for kind in _classes():
        first, *others = (base.__name__ for base in kind.__bases__)
        parent = None if kind is StreambtError else first
        real[kind.__name__] = (parent, kind.exit_code, frozenset(others))
    assert _drawn() == real


@pytest.mark.parametrize("kind", _classes(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("codec", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_errors_survive_a_process(kind: type[StreambtError], codec: type[pickle]) -> None:  # type: ignore[valid-type]
    """An error comes out of a worker as it went in: class, message and what it is about."""
    again = codec.loads(codec.dumps(kind("no such thing", **DETAILS)))  # type: ignore[attr-defined]
    assert (type(again), str(again), again.details) == (kind, "no such thing", DETAILS)
    assert {name: getattr(again, name) for name in DETAILS} == DETAILS


def test_an_error_keeps_what_it_is_about() -> None:
    """By attribute; what it is not about is None, and what no error is about is a mistake."""
    error = UnknownColumn("bars has no column 'clos'", column="clos")
    assert (error.column, error.symbol) == ("clos", None)
    with pytest.raises(AttributeError, match="'UnknownColumn' object has no attribute 'colum'"):
        _ = error.colum
    with pytest.raises(TypeError, match=r"not \['colum'\]"):
        UnknownColumn("x", colum="clos")  # type: ignore[call-arg]


def test_an_error_can_be_told_from_further_away() -> None:
    """A place is put before the message; the class and what is known stay."""
    error = UnknownColumn("no column", column="clos").within("sma.py:2", address="sma.py", line=2)
    assert type(error) is UnknownColumn
    assert str(error) == "sma.py:2: no column"
    assert (error.column, error.address, error.line) == ("clos", "sma.py", 2)


def test_what_may_be_tried_again_is_one_branch() -> None:
    """A scheduler asks for Transient, or for exit code 75, and for nothing else."""
    again = {kind for kind in _classes() if kind.exit_code == 75}
    assert again == {kind for kind in _classes() if issubclass(kind, Transient)}
    assert issubclass(StoreUnavailable, StoreError)
    assert not issubclass(NoData, Transient)


def test_a_refused_argument_is_no_fault_of_the_graph() -> None:
    """The account, the generator and a strategy's parameters refuse arguments too; all exit 2."""
    assert not issubclass(BadParameter, errors.GraphError)
    assert BadParameter.exit_code == errors.GraphError.exit_code == errors.ConfigError.exit_code
