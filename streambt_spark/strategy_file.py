"""A strategy file: Python code by path, whose `build(cerebro, bars, **params)` makes the graph."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from streambt_spark.core.code.origin import Origin, origin_of
from streambt_spark.errors import (
    BadParameter,
    ConfigError,
    Details,
    StrategyError,
    StreambtError,
    did_you_mean,
)

__all__ = ["SIGNATURE", "StrategyFile", "load", "look_at"]

SIGNATURE = "def build(cerebro, bars, **params)"


@dataclass(frozen=True, slots=True)
class StrategyFile:
    """A loaded strategy file."""

    path: Path
    module: ModuleType

    @property
    def modules(self) -> tuple[ModuleType, ...]:
        """The user's own modules that a worker cannot import: this one and its neighbours.

        Neighbours are the modules and packages in the file's folder, with their submodules, as far
        as they have been imported by now; what is installed is not among them.
        """
        return (self.module, *_neighbours(self.module, self.path.parent))

    def build(self, cerebro: object, bars: object, parameters: Mapping[str, Any]) -> None:
        """Let the file add its graph to the engine.

        Raises BadParameter for a parameter that build does not take or that it lacks,
        StrategyError for what its code raises, with the file and the line.
        """
        function = _build_of(self.module, self.path)
        _check_parameters(function, self.path, parameters)
        with _located(self.path):
            function(cerebro, bars, **parameters)


def load(path: str) -> StrategyFile:
    """Return the strategy in a Python file, which may import its neighbours as a script may.

    Raises ConfigError where there is no such file, StrategyError where it does not run or has no
    build.
    """
    file = _existing(path)
    name = f"strategy_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(
            f"STRATEGY: {path} is not a Python file; expected a name ending in .py",
            option="STRATEGY",
            address=path,
        )
    module = importlib.util.module_from_spec(spec)
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    sys.modules[name] = module
    with _located(file):
        spec.loader.exec_module(module)
    _build_of(module, file)
    return StrategyFile(file, module)


def look_at(path: str) -> None:
    """Raise what `load` would for a missing file or one that is no Python; run none of its code."""
    file = _existing(path)
    with _located(file):
        compile(file.read_bytes(), str(file), "exec")


def _existing(path: str) -> Path:
    file = Path(path).absolute()
    if not file.is_file():
        raise ConfigError(
            f"STRATEGY: there is no file {path}; expected Python with {SIGNATURE}",
            option="STRATEGY",
            address=path,
        )
    return file


def _neighbours(module: ModuleType, folder: Path) -> list[ModuleType]:
    return [
        other
        for name, other in sorted(sys.modules.items())
        if other is not module
        and name != "__main__"
        and _home(other).is_relative_to(folder)
        and origin_of(other) is Origin.USER
    ]


def _home(module: ModuleType) -> Path:
    """Return a module's file, or a namespace package's folder."""
    folders = getattr(module, "__path__", None) or ()
    path = getattr(module, "__file__", None) or next(iter(folders), None)
    return Path(path) if isinstance(path, str) else Path()


def _build_of(module: ModuleType, file: Path) -> Callable[..., object]:
    function = getattr(module, "build", None)
    if not callable(function):
        raise StrategyError(
            f"{file.name} has no function build; expected {SIGNATURE}", address=str(file)
        )
    return function  # type: ignore[no-any-return]


def _check_parameters(
    function: Callable[..., object], file: Path, parameters: Mapping[str, Any]
) -> None:
    signature = inspect.signature(function)
    known = list(signature.parameters)[2:]
    takes_all = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for name in parameters:
        if name not in known and not takes_all:
            raise BadParameter(
                f"--set {name}: build of {file.name} has no such parameter"
                f"{did_you_mean(name, known)}; it takes {', '.join(known) or 'none'}",
                option="--set",
                parameter=name,
                address=str(file),
            )
    try:
        signature.bind(None, None, **parameters)
    except TypeError as error:
        raise BadParameter(f"build of {file.name}: {error}; expected {SIGNATURE}") from None


@contextmanager
def _located(file: Path) -> Iterator[None]:
    """Name the file and the line of whatever its code raises."""
    try:
        yield
    except SyntaxError as error:
        path, line = Path(error.filename or file), error.lineno or 1
        message = f"{_where(path, line)}: {type(error).__name__}: {error.msg}"
        raise StrategyError(message, **_place(path, line)) from error
    except StreambtError as error:
        line = _line(error, file)
        place = Details() if error.address else _place(file, line)
        raise error.within(_where(file, line), **place) from error
    except Exception as error:
        line = _line(error, file)
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise StrategyError(f"{_where(file, line)}: {message}", **_place(file, line)) from error


def _line(error: BaseException, file: Path) -> int:
    """Return the last line of the file that the error went through; 0 where it did not."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == file]
    return (frames[-1].lineno or 0) if frames else 0


def _where(file: Path, line: int) -> str:
    return f"{file.name}:{line}" if line else file.name


def _place(file: Path, line: int) -> Details:
    return {"address": str(file), "line": line} if line else {"address": str(file)}
