"""Strategy files: how they are loaded, and how their faults are told."""

import re
import sys
from pathlib import Path

import pytest

from streambt_spark import Cerebro, Universe
from streambt_spark import strategy_file as strategy
from streambt_spark.errors import (
    BadParameter,
    ConfigError,
    StrategyError,
    UnknownColumn,
    UnknownFunction,
)


def _write(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_build_gets_its_parameters(tmp_path: Path) -> None:
    """build is called with the engine, the bars and the parameters that were set."""
    path = _write(
        tmp_path,
        "def build(cerebro, bars, fast=1, slow=2):\n    cerebro.append((bars, fast, slow))",
    )
    seen: list[object] = []
    strategy.load(path).build(seen, "bars", {"slow": 30})
    assert seen == [("bars", 1, 30)]


def test_neighbours_can_be_imported(tmp_path: Path) -> None:
    """A file may import a module beside it, and both are known for shipping to workers."""
    _write(tmp_path, "N = 7", "neighbour_of_mine.py")
    path = _write(tmp_path, "import neighbour_of_mine\ndef build(cerebro, bars):\n    pass")
    found = strategy.load(path)
    assert [m.__name__ for m in found.modules] == ["strategy_mine", "neighbour_of_mine"]
    sys.path.remove(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "mine.py has no function build; expected def build(cerebro, bars, **params)"),
        ("def build(", "mine.py:1: SyntaxError: '(' was never closed"),
        ("\n1 / 0", "mine.py:2: ZeroDivisionError: division by zero"),
        (
            "import no_such_module",
            "mine.py:1: ModuleNotFoundError: No module named 'no_such_module'",
        ),
    ],
)
def test_faults_on_loading(tmp_path: Path, text: str, message: str) -> None:
    """A file that does not load is told with its line, the kind of fault and the message."""
    with pytest.raises(StrategyError, match=f"^{re.escape(message)}$"):
        strategy.load(_write(tmp_path, text))


def test_faults_in_build(tmp_path: Path) -> None:
    """What build raises is told with the file's own line, also from below a library's frames."""
    path = _write(tmp_path, "import json\ndef build(cerebro, bars):\n    json.loads('{')")
    with pytest.raises(StrategyError, match=r"^mine\.py:3: JSONDecodeError: Expecting property"):
        strategy.load(path).build(None, None, {})


def test_our_errors_keep_their_kind(tmp_path: Path) -> None:
    """An error of the graph stays what it is, with the line of the file that made it."""
    path = _write(tmp_path, "def build(cerebro, bars):\n    cerebro()")

    def refuse() -> None:
        raise UnknownFunction("no function SMMA (did you mean SMA?)")

    with pytest.raises(UnknownFunction, match=r"^mine\.py:2: no function SMMA"):
        strategy.load(path).build(refuse, None, {})


@pytest.mark.parametrize(
    ("signature", "parameters", "message"),
    [
        (
            "fast=1",
            {"fsat": 2},
            "--set fsat: build of mine.py has no such parameter (did you mean fast?)",
        ),
        ("fast", {}, "build of mine.py: missing a required argument: 'fast'"),
    ],
)
def test_parameters_are_checked(
    tmp_path: Path, signature: str, parameters: dict[str, object], message: str
) -> None:
    """A parameter that build does not take, or that it lacks, is told before its code runs."""
    path = _write(tmp_path, f"def build(cerebro, bars, {signature}):\n    1 / 0")
    with pytest.raises(BadParameter, match=f"^{re.escape(message)}"):
        strategy.load(path).build(None, None, parameters)


def test_no_such_file(tmp_path: Path) -> None:
    """A file that is not there, or is no Python file, is refused."""
    with pytest.raises(ConfigError, match=r"^STRATEGY: there is no file nowhere\.py"):
        strategy.load("nowhere.py")
    with pytest.raises(ConfigError, match=r"is not a Python file"):
        strategy.load(_write(tmp_path, "", "mine.txt"))


def test_errors_keep_the_place(tmp_path: Path) -> None:
    """The file, the line and what an error of the graph is about can be asked of it."""
    path = _write(tmp_path, "def build(cerebro, bars):\n\n    bars['clos']")
    cerebro = Cerebro()
    data = cerebro.add_data(Universe(("A",), "1d"))
    with pytest.raises(UnknownColumn) as caught:
        strategy.load(path).build(cerebro, data, {})
    assert (caught.value.column, caught.value.address, caught.value.line) == ("clos", path, 3)


def test_a_look_runs_none_of_the_code(tmp_path: Path) -> None:
    """A missing file and a mistake in the syntax are told; what the file does is not done."""
    strategy.look_at(_write(tmp_path, "1 / 0"))
    with pytest.raises(StrategyError, match=r"^mine\.py:1: SyntaxError"):
        strategy.look_at(_write(tmp_path, "def build("))
    with pytest.raises(ConfigError, match="there is no file"):
        strategy.look_at(str(tmp_path / "none.py"))
