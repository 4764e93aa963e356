"""Stable text for what makes a Python function the function it is.

The text is the same in every process: it holds source, defaults, captured values and the functions
a function calls, never an address, a hash or an order of a set. It follows plain values, functions
and the members of the user's own modules; functions of installed packages count by their name.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import json
import numbers
import sys
import textwrap
from enum import Enum, EnumType
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core.dispatcher import Dispatcher

from streambt_spark.errors import BadParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_OWN_PACKAGE = __name__.partition(".")[0]


def canonical(value: object, where: str) -> object:
    """Return a parameter as a plain value: number, string, bool, None, or a tuple of such.

    NumPy scalars become Python's, lists become tuples, members of an enum stay themselves.
    Raises BadParameter, which names `where`, for anything else.
    """
    if isinstance(value, Enum):
        canonical(value.value, where)
        return value
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, tuple | list):
        return tuple(canonical(item, where) for item in value)
    raise BadParameter(
        f"{where} is a {type(value).__name__}; allowed are numbers, strings, booleans, None, "
        "enums and tuples of them"
    )


def text_of(value: object) -> str:
    """Return the text of a canonical value; 1, 1.0, True and '1' differ."""
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}={text_of(value.value)}"
    if isinstance(value, tuple):
        return f"({', '.join(map(text_of, value))})"
    return repr(value)


def identity_of(func: Callable[..., Any]) -> str:
    """Return the identity of a Python function, a numba one, or one of an installed package.

    Raises BadParameter where `func` is something else, or captures an array or another object
    that has no stable text.
    """
    if is_library(func):
        return f"name {func.__module__}.{func.__qualname__}"
    if isinstance(func, FunctionType | Dispatcher):
        return _describe_function(func, {})
    kind = type(func).__name__
    raise BadParameter(f"{func!r:.80} is a {kind}; pass a function (def, lambda or numba)")


def is_library(value: object) -> bool:
    """Tell whether a callable can be told by its name: it belongs to an installed package."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    if module is None or module.__name__ == "__main__" or not _is_installed(module):
        return False
    return _member(module, getattr(value, "__qualname__", "")) is value


def _member(module: ModuleType, qualname: str) -> object:
    found: object = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _is_installed(module: ModuleType) -> bool:
    root = module.__name__.partition(".")[0]
    file = getattr(module, "__file__", None) or ""
    known = root in sys.stdlib_module_names or root == _OWN_PACKAGE
    return known or "site-packages" in file or "dist-packages" in file


def _describe_function(func: Any, seen: dict[int, str]) -> str:
    if id(func) in seen:
        return f"again {seen[id(func)]}"
    seen[id(func)] = func.__qualname__
    options = ""
    if isinstance(func, Dispatcher):
        options = f" numba {sorted(func.targetoptions.items())!r}"
        func = func.py_func
    parts = [f"def {func.__qualname__}{options}", _code_text(func)]
    parts += (f"{name} = {_describe(value, name, seen, func)}" for name, value in _captured(func))
    return "\n".join(parts)


def _describe(value: object, name: str, seen: dict[int, str], owner: FunctionType) -> str:
    if isinstance(value, ModuleType):
        return f"module {value.__name__}"
    if is_library(value) or isinstance(value, BuiltinFunctionType):
        return f"name {getattr(value, '__module__', None)}.{getattr(value, '__qualname__', name)}"
    if isinstance(value, FunctionType | Dispatcher):
        return "{" + _describe_function(value, seen) + "}"
    where = f"{owner.__qualname__} uses {name!r} from outside, which"
    try:
        if isinstance(value, EnumType):
            return text_of(canonical(tuple(value), where))
        return text_of(canonical(value, where))
    except BadParameter as error:
        raise BadParameter(f"{error}; pass it to the function as a parameter") from None


def _code_text(func: FunctionType) -> str:
    """The source; for a lambda, and where no source is found, also the bytecode's digest."""
    try:
        source = textwrap.dedent(inspect.getsource(func.__code__)).strip()
    except (OSError, TypeError):
        source = ""
    if source and func.__name__ != "<lambda>":
        return source
    return f"{source}\nbytecode {hashlib.sha256(_code_bytes(func.__code__)).hexdigest()}"


def _code_bytes(code: CodeType) -> bytes:
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    head = repr((code.co_code, names, code.co_flags, code.co_argcount, code.co_kwonlyargcount))
    return head.encode() + b"".join(_constant(value) for value in code.co_consts)


def _constant(value: object) -> bytes:
    if isinstance(value, CodeType):
        return _code_bytes(value)
    if isinstance(value, frozenset):  # its order changes from process to process
        return b"{" + b",".join(sorted(_constant(item) for item in value)) + b"}"
    if isinstance(value, tuple):
        return b"(" + b",".join(_constant(item) for item in value) + b")"
    return repr(value).encode()


def _captured(func: FunctionType) -> Iterator[tuple[str, object]]:
    """Yield (name, value) of defaults, closure cells and globals the code refers to, in order."""
    code = func.__code__
    positional = code.co_varnames[: code.co_argcount]
    defaults = func.__defaults__ or ()
    yield from zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    yield from sorted((func.__kwdefaults__ or {}).items())
    for name, cell in zip(code.co_freevars, func.__closure__ or (), strict=True):
        yield name, _cell(cell)
    for path in sorted(set(_global_paths(code))):
        if path[0] in func.__globals__:
            yield _follow(path, func.__globals__[path[0]])


def _cell(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _follow(path: tuple[str, ...], value: object) -> tuple[str, object]:
    """Walk attributes as long as they lead out of the user's own modules."""
    depth = 1
    while depth < len(path) and isinstance(value, ModuleType) and not _is_installed(value):
        if not hasattr(value, path[depth]):
            break
        value = getattr(value, path[depth])
        depth += 1
    return ".".join(path[:depth]), value


def _global_paths(code: CodeType) -> Iterator[tuple[str, ...]]:
    """Yield the globals the code loads, each with the attributes taken from it at once."""
    path: list[str] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and path:
            path.append(instruction.argval)
            continue
        if path:
            yield tuple(path)
        loads = instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
        path = [instruction.argval] if loads else []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_paths(constant)


def digest_of(value: Mapping[str, object]) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a JSON value with its keys sorted."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
