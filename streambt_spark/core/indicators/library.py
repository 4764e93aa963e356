"""Indicators: any causal function of columns, TA-Lib's by name or the user's own.

No function has an incremental twin. Streaming comes from the anchor rule: the value at a symbol's
bar n is the function's value at n over the bars since max(0, n // M * M - W), with W the function's
warm-up and M its span. Running totals, which never forget, are carried exactly instead.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from streambt_spark.core.identity import check_unchanged, identity_of
from streambt_spark.core.indicators import python, talib
from streambt_spark.core.indicators.causality import check_causal, is_pointwise
from streambt_spark.core.indicators.function import M_MIN, Family, Function
from streambt_spark.core.indicators.memory import check_memory, check_memory_on
from streambt_spark.core.indicators.python import CarryingKernel, PythonKernel, indicator
from streambt_spark.errors import BadParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_THOROUGHLY = 3
_TRIED: Counter[str] = Counter()
"""How many sets of parameters a function was tried with; after _THOROUGHLY it is tried briefly."""

__all__ = [
    "M_MIN",
    "Family",
    "Function",
    "check_causal",
    "check_memory",
    "check_memory_on",
    "check_same",
    "declare",
    "identity_of",
    "indicator",
    "resolve",
]


def declare(
    func: str | Callable[..., Any], params: Mapping[str, object], columns: int | None = None
) -> Function:
    """Return `func` bound to its parameters, a user's own once it has passed the checks.

    A function whose value at a row turns out to depend on that row alone is POINTWISE. `columns` is
    how many columns it gets, where it takes any number. Raises what `resolve` does, LookAheadError
    where it looks ahead, BadParameter where it remembers more than its warm-up, StrategyError where
    it raises.
    """
    function = resolve(func, params)
    return function if isinstance(func, str) else replace(function, family=_try(function, columns))


@lru_cache(maxsize=4096)
def _try(function: Function, columns: int | None) -> Family:
    """Check a function once, however often it is declared: equal functions do the same."""
    if is_pointwise(function, columns):
        return Family.POINTWISE
    kernel = function.kernel
    code = kernel.what if isinstance(kernel, PythonKernel) else function.identity
    _TRIED[code] += 1
    check_causal(function, columns, brief=_TRIED[code] > _THOROUGHLY)
    check_memory(function, columns)
    return function.family


def check_same(functions: Iterable[Function]) -> None:
    """Raise BadParameter where a function is no longer what it was when it was declared."""
    talib.check_settings()
    calls: dict[tuple[int, str], Callable[..., Any]] = {}
    for function in functions:
        kernel = function.kernel
        if isinstance(kernel, PythonKernel | CarryingKernel):
            calls[id(kernel.call), kernel.what] = kernel.call
    for (_, what), call in calls.items():
        check_unchanged(call, what)


def resolve(func: str | Callable[..., Any], params: Mapping[str, object]) -> Function:
    """Return `func`, a TA-Lib name in any case or a Python function, bound to its parameters.

    Raises UnknownFunction for a name TA-Lib lacks, and BadParameter for a parameter that is
    unknown, of the wrong type or out of range; both say what was meant.
    """
    if isinstance(func, str):
        return talib.bind(func, params)
    if callable(func):
        return python.bind(func, params)
    kind = type(func).__name__
    raise BadParameter(f"{func!r:.80} is a {kind}; pass a TA-Lib name or a function of arrays")
