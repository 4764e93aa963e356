"""What the bytecode of a function refers to outside of it."""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

from streambt_spark.core.code.origin import Origin, origin_of

T = TypeVar("T")

OPTIONS = "__streambt_indicator__"
"""The attribute that `indicator` leaves on a function; what it says is told apart."""


def _once_a_code(find: Callable[[CodeType], Iterator[T]]) -> Callable[[CodeType], tuple[T, ...]]:
    """Keep what was found in a code, for a sweep declares one function many times."""
    return lru_cache(maxsize=4096)(lambda code: tuple(find(code)))


def captured(func: FunctionType) -> Iterator[tuple[str, object]]:
    """Yield (name, value) of defaults, attributes, closure cells and the globals it refers to."""
    code = func.__code__
    positional = code.co_varnames[: code.co_argcount]
    defaults = func.__defaults__ or ()
    yield from zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    yield from sorted((func.__kwdefaults__ or {}).items())
    for name, value in sorted(vars(func).items()):
        if name != OPTIONS:
            yield f"attribute {name}", value
    for name, cell in zip(code.co_freevars, func.__closure__ or (), strict=True):
        yield name, _cell(cell)
    space = func.__globals__
    builtin = space.get("__builtins__", {})
    built_in = builtin if isinstance(builtin, dict) else vars(builtin)
    for path in sorted(set(global_paths(code))):
        if path[0] in space:
            yield _follow(path, space[path[0]])
        elif path[0] not in built_in:
            yield path[0], "not defined"


def _cell(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return "not assigned"


def _follow(path: tuple[str, ...], value: object) -> tuple[str, object]:
    """Walk attributes as long as they lead out of the user's own modules."""
    depth = 1
    while depth < len(path) and isinstance(value, ModuleType) and origin_of(value) is Origin.USER:
        if not hasattr(value, path[depth]):
            break
        value = getattr(value, path[depth])
        depth += 1
    return ".".join(path[:depth]), value


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


@_once_a_code
def global_paths(code: CodeType) -> Iterator[tuple[str, ...]]:
    """Yield the globals the code loads, each with the attributes taken from it at once."""
    for part in _codes(code):
        path: list[str] = []
        for instruction in dis.get_instructions(part):
            if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and path:
                path.append(instruction.argval)
                continue
            if path:
                yield tuple(path)
            loads = instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
            path = [instruction.argval] if loads else []


@_once_a_code
def imports(code: CodeType) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Yield (level, module, names) of the imports inside a function."""
    for part in _codes(code):
        constants: list[Any] = []
        for instruction in dis.get_instructions(part):
            if instruction.opname == "LOAD_CONST":
                constants.append(instruction.argval)
            elif instruction.opname == "IMPORT_NAME":
                level, names = constants[-2:]
                yield level, instruction.argval, tuple(names or ())


@_once_a_code
def written(code: CodeType) -> Iterator[str]:
    """Yield the names outside of a function that it assigns to."""
    outside = set(code.co_freevars)
    for part in _codes(code):
        captured_here = outside & set(part.co_freevars)
        for instruction in dis.get_instructions(part):
            is_global = instruction.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")
            is_captured = instruction.opname in ("STORE_DEREF", "DELETE_DEREF")
            if is_global or (is_captured and instruction.argval in captured_here):
                yield instruction.argval
