"""TA-Lib's C functions, called without Python in between.

The wheel of TA-Lib bundles the C library, and the extension module that Python calls leads to it:
looked up through that module, its symbols are those of the instance that `talib` itself uses, with
the same global settings. TA-Lib's own call interface is the same for all functions: a holder takes
the parameters once, and for each call the addresses of the inputs and outputs.

Where the symbols are not found (a static build, another platform) `binding` returns None, and the
functions are called through Python, with the same bits.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import binding as llvm
from numba import types
from numba.core.types import ExternalFunction

_USED_COMPILED = (
    "TA_SetInputParamRealPtr",
    "TA_SetInputParamPricePtr",
    "TA_SetOutputParamRealPtr",
    "TA_SetOutputParamIntegerPtr",
    "TA_CallFunc",
)
_USED_HERE = (
    "TA_GetFuncHandle",
    "TA_ParamHolderAlloc",
    "TA_SetOptInputParamInteger",
    "TA_SetOptInputParamReal",
    "TA_GetInputParameterInfo",
    "TA_GetOutputParameterInfo",
)
_PREFIX = "streambt_"  # of the names under which compiled code is linked to the library


def _external(name: str, *arguments: Any) -> Any:
    return ExternalFunction(_PREFIX + name, types.int32(*arguments))


_address = types.intp  # a pointer, as a number
set_real = _external("TA_SetInputParamRealPtr", _address, types.uint32, _address)
set_prices = _external("TA_SetInputParamPricePtr", _address, types.uint32, *[_address] * 6)
set_real_output = _external("TA_SetOutputParamRealPtr", _address, types.uint32, _address)
set_integer_output = _external("TA_SetOutputParamIntegerPtr", _address, types.uint32, _address)
call = _external("TA_CallFunc", _address, types.int32, types.int32, _address, _address)

PRICES = ("open", "high", "low", "close", "volume", "open interest")
"""The columns of a price input, by the position at which the C call takes them."""

_PRICE, _REAL = 0, 1
_INTEGER_OUTPUT = 1


class _Parameter(ctypes.Structure):
    """What the library says of an input or an output."""

    _fields_ = (("type", ctypes.c_int), ("name", ctypes.c_char_p), ("flags", ctypes.c_int))


@dataclass(frozen=True, slots=True)
class Binding:
    """A C function with its parameters bound.

    `holder` is an address, good in this process alone. `inputs` tells of each column the C input it
    belongs to and its position there, -1 for a series of its own; `integers` of each output whether
    it is int32.
    """

    holder: int
    inputs: tuple[tuple[int, int], ...]
    integers: tuple[bool, ...]


@cache
def binding(
    name: str, params: tuple[int | float, ...], columns: int, outputs: int
) -> Binding | None:
    """Return TA-Lib's function `name` bound to all its parameters in order, None if out of reach.

    `columns` and `outputs` are how many arrays it takes and gives when called from Python.
    """
    library = _library()
    if library is None:
        return None
    handle, holder = ctypes.c_void_p(), ctypes.c_void_p()
    failed = library.TA_GetFuncHandle(name.encode(), ctypes.byref(handle))
    failed = failed or library.TA_ParamHolderAlloc(handle, ctypes.byref(holder))
    if failed or holder.value is None:
        return None
    for i, value in enumerate(params):
        failed = failed or _set_parameter(library, holder, i, value)
    inputs = _inputs(library, handle, columns)
    results = tuple(
        _parameter(library.TA_GetOutputParameterInfo, handle, i).type == _INTEGER_OUTPUT
        for i in range(outputs)
    )
    if failed or len(inputs) != columns:
        return None
    return Binding(holder.value, inputs, results)


@cache
def _library() -> Any:
    """Return the library that `talib` calls, None where it is out of reach."""
    from talib import _ta_lib  # a second of imports that a worker without TA-Lib does without

    try:
        library = ctypes.CDLL(_ta_lib.__file__)
        addresses = {
            name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value
            for name in (*_USED_COMPILED, *_USED_HERE)
        }
    except (AttributeError, OSError):
        return None
    for name in _USED_COMPILED:
        llvm.add_symbol(_PREFIX + name, addresses[name])
    return library


def _set_parameter(library: Any, holder: ctypes.c_void_p, at: int, value: float) -> int:
    if isinstance(value, int):
        return int(library.TA_SetOptInputParamInteger(holder, at, ctypes.c_int(value)))
    return int(library.TA_SetOptInputParamReal(holder, at, ctypes.c_double(value)))


def _inputs(library: Any, handle: ctypes.c_void_p, columns: int) -> tuple[tuple[int, int], ...]:
    inputs: list[tuple[int, int]] = []
    number = 0
    while len(inputs) < columns:
        info = _parameter(library.TA_GetInputParameterInfo, handle, number)
        if info.type == _REAL:
            inputs.append((number, -1))
        elif info.type == _PRICE and info.flags:
            inputs.extend((number, i) for i in range(len(PRICES)) if info.flags >> i & 1)
        else:
            return ()
        number += 1
    return tuple(inputs)


def _parameter(get: Any, handle: ctypes.c_void_p, at: int) -> _Parameter:
    info = ctypes.POINTER(_Parameter)()
    get(handle, at, ctypes.byref(info))
    return info.contents if info else _Parameter(-1, None, 0)
