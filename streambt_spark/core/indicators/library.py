"""Indicators: any causal function of columns, TA-Lib's by name or the user's own.

No function has an incremental twin. Streaming comes from the anchor rule: the value at a symbol's
bar n is the function's value at n over the bars since max(0, n // M * M - W), with W the function's
warm-up and M its span. Running totals, which never forget, are carried exactly instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streambt_spark.core.identity import identity_of
from streambt_spark.core.indicators import python, talib
from streambt_spark.core.indicators.causality import check_causal, check_memory
from streambt_spark.core.indicators.function import M_MIN, Family, Function
from streambt_spark.core.indicators.python import indicator
from streambt_spark.errors import BadParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "M_MIN",
    "Family",
    "Function",
    "check_causal",
    "check_memory",
    "identity_of",
    "indicator",
    "resolve",
]


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
