"""Stable text for what makes a Python function the function it is.

The text covers all that a function can reach: its code, defaults, captured values and attributes,
the functions, classes and constants it names, what it imports while it runs, and whole modules of
the user's where it takes them as such. It is the same in every process: it holds no address, no
hash and no order of a set. What can change unseen is refused: state would hide in it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import numbers
from collections.abc import Mapping
from enum import Enum
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core.dispatcher import Dispatcher

from streambt_spark.core.code.reach import Reach, library_name, name_of
from streambt_spark.errors import BadParameter

if TYPE_CHECKING:
    from collections.abc import Callable


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


def digest_of(value: Mapping[str, object]) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a JSON value with its keys sorted."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identity_of(func: Callable[..., Any]) -> str:
    """Return the identity of a Python function: lines of `path = text`, one for each thing in it.

    Raises BadParameter where `func` is no function, or reaches what has no stable text or can
    change unseen; the message names it and says what to do.
    """
    reach = Reach()
    if library_name(func) is not None:
        reach.tell(name_of(func), f"name {library_name(func)}")
    elif isinstance(func, FunctionType | Dispatcher | functools.partial | MethodType):
        reach.value(name_of(func), func)
    else:
        kind = type(func).__name__
        raise BadParameter(f"{func!r:.80} is a {kind}; pass a function (def, lambda or numba)")
    return "\n".join(f"{path} = {text}" for path, text in reach.lines)


def check_unchanged(func: Callable[..., Any], before: str) -> None:
    """Raise BadParameter where a function is no longer what it was when `before` was taken."""
    after = identity_of(func)
    if after == before:
        return
    old, new = (dict(line.partition(" = ")[::2] for line in t.split("\n")) for t in (before, after))
    path = next((p for p in (*old, *new) if old.get(p) != new.get(p)), "the order of its parts")
    was, now = (f"{texts.get(path, 'nothing'):.60}" for texts in (old, new))
    name = path.rpartition(": ")[2]
    raise BadParameter(
        f"{name_of(func)}: {name!r} has changed since the function was declared, from {was} to "
        f"{now}; a function keeps the variable, not its value, so all of a loop see the last one: "
        f"pass the value as a parameter, or as a default (def f(x, {name}={name}))"
    )
