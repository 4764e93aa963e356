"""Every function of TA-Lib by name: its parameters, inputs, outputs and warm-up.

With these warm-ups the anchored values agree with those over full history, on 5,849 real daily bars
of five stocks and up to 12,423 real minute bars, to 1e-9 of the value, or near zero to 1e-9 of the
function's median size. Limits: a candlestick pattern may flip where a bar ties with a running
average (once in 29,245 bars, in CDLEVENINGSTAR); KAMA over a series without trends, such as volume,
forgets too slowly (to 1e-3).
"""

from __future__ import annotations

import math
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from talib import _ta_lib, abstract

from streambt_spark.core.indicators.accumulators import ACCUMULATED
from streambt_spark.core.indicators.function import Family, Function, Kernel
from streambt_spark.core.indicators.kernels import AccumulatedKernel, TalibKernel
from streambt_spark.errors import BadParameter, UnknownFunction, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

_talib: Any = _ta_lib
_abstract: Any = abstract  # its stub lacks Function

NAMES = frozenset[str](_talib.__TA_FUNCTION_NAMES__)

MA_TYPES: dict[str, int] = {
    name: number for name, number in vars(type(_talib.MA_Type)).items() if name.isupper()
}
"""Kinds of moving average, by the name and by the number TA-Lib gives them."""

_EXACT = """
ADD DIV MULT SUB MAX MIN MINMAX SUM
ACOS ASIN ATAN CEIL COS COSH EXP FLOOR LN LOG10 SIN SINH SQRT TAN TANH
AC AO APO AROON AROONOSC BOP CCI CMOU COPPOCK DPO ER FOSC FRACTAL IMI MACDEXT MFI MOM PPO QSTICK
ROC ROCP ROCR ROCR100 STOCH STOCHF ULTOSC VHF VORTEX WILLR
ACCBANDS BBANDS DONCHIAN HMA MA MAVP MIDPOINT MIDPRICE SMA TRIMA VWMA WMA
AVGDEV AVGPRICE MEDPRICE TYPPRICE WCLPRICE BETA CORREL LINEARREG LINEARREG_ANGLE
LINEARREG_INTERCEPT LINEARREG_SLOPE PERCENTILE PERCENTRANK STDDEV TSF VAR
ADR TRANGE CMF MARKETFI PVO RVOL
"""

WINDOWED = frozenset(_EXACT.split()) | {name for name in NAMES if name.startswith("CDL")}
"""Functions whose value needs the last `lookback` bars and no more, as the tests check."""

_WINDOWED_MA = frozenset(MA_TYPES[name] for name in ("SMA", "WMA", "TRIMA", "HMA", "DISABLED"))
_BY_CYCLE = frozenset({"MAMA", "HT_DCPHASE", "HT_SINE", "HT_TRENDMODE"})
"""Led by the phase of the dominant cycle, which two histories agree on late where prices tie."""

_BARS_AGO = frozenset({"MAXINDEX", "MININDEX", "MINMAXINDEX"})
_COMMUTATIVE = frozenset({"ADD", "MULT"})
_W_MIN, _W_PER_LOOKBACK, _W_MAX = 250, 25, 5_000
_REAL_LIMIT = 3e37


def bind(name: str, params: Mapping[str, object]) -> Function:
    """Return TA-Lib's function `name` (in any case) with its parameters, defaults filled in.

    Raises UnknownFunction, or BadParameter where a name, a type or a range is wrong.
    """
    check_settings()
    known = name.upper()
    if known not in NAMES:
        hint = did_you_mean(name, NAMES)
        raise UnknownFunction(f"TA-Lib has no function {name!r}{hint}; see talib.get_functions()")
    info = _abstract.Function(known)
    bound = _bind_params(known, info.parameters, params)
    _check_range(known, info.parameters, bound)
    info.parameters = bound
    lookback = int(info.lookback)
    accumulated = known in ACCUMULATED
    kernel: Kernel = AccumulatedKernel(known)
    if not accumulated:
        call = getattr(_talib, known)
        kernel = TalibKernel(call, tuple(bound.values()), lookback, known in _BARS_AGO)
    ordered = tuple(sorted(bound.items()))
    return Function(
        name=known,
        identity=f"talib.{known}({', '.join(f'{key}={value!r}' for key, value in ordered)})",
        inputs=_inputs(known),
        outputs=tuple(info.output_names),
        params=ordered,
        family=Family.ACCUMULATED if accumulated else Family.ANCHORED,
        lookback=lookback,
        warmup=0 if accumulated else _warmup(known, bound, lookback),
        commutative=known in _COMMUTATIVE,
        kernel=kernel,
    )


def check_settings() -> None:
    """Raise BadParameter where a global setting of TA-Lib is not its default.

    Another process, such as a worker's, would not have it, and no identity tells of it.
    """
    periods = [name for name in _talib._ta_func_unst_ids if name not in ("NONE", "ALL")]
    changed = [name for name in periods if _talib._ta_get_unstable_period(name)]
    if changed or _talib._ta_get_compatibility():
        what = f"unstable periods ({', '.join(changed)})" if changed else "compatibility"
        raise BadParameter(
            f"TA-Lib's global {what} is set, which other processes would not have; set it back to "
            "0 (talib.set_unstable_period, talib.set_compatibility)"
        )


@cache
def _inputs(name: str) -> tuple[str, ...]:
    """Prices by their field; a single series is `close` unless the user says otherwise."""
    names: list[str] = []
    for kind, series in _abstract.Function(name).input_names.items():
        if kind == "prices":
            names.extend([series] if isinstance(series, str) else series)
        elif kind == "price":
            names.append("close")
        else:
            names.append(kind.replace("price", "real"))
    return tuple(names)


def _warmup(name: str, params: Mapping[str, Any], lookback: int) -> int:
    """W of the anchor rule; `WINDOWED` and the slow settings below are checked by tests."""
    kinds = {value for key, value in params.items() if key.endswith("matype")}
    if name in WINDOWED and kinds <= _WINDOWED_MA:
        return lookback
    warmup = max(_W_PER_LOOKBACK * lookback, _W_MIN)
    if name in _BY_CYCLE or MA_TYPES["MAMA"] in kinds:
        return max(warmup, _W_MAX)
    if name == "PVO" and MA_TYPES["KAMA"] in kinds:
        return max(warmup, _W_MAX)  # volume has no trend: KAMA stays at its slowest
    if name in ("SAR", "SAREXT"):
        # two histories meet when the stop is hit, and a slow stop is hit rarely
        pace: float = min(value for key, value in params.items() if key.startswith("acceleration"))
        slower = min(0.02 / pace, _W_MAX / _W_MIN) if pace > 0 else _W_MAX / _W_MIN
        return max(warmup, math.ceil(_W_MIN * slower))
    if name == "SUPERTREND":
        # as above; the time to reach a band grows with the square of its distance
        farther = min((float(params["multiplier"]) / 3) ** 2, _W_MAX / _W_MIN)
        return max(warmup, math.ceil(_W_MIN * farther))
    return warmup


def _bind_params(
    name: str, defaults: Mapping[str, Any], params: Mapping[str, object]
) -> dict[str, Any]:
    takes = ", ".join(f"{key}={value}" for key, value in defaults.items()) or "no parameters"
    for key in params:
        if key not in defaults:
            hint = did_you_mean(key, defaults)
            raise BadParameter(f"{name} has no parameter {key!r}{hint}; it takes {takes}")
    return {
        key: _convert(name, key, params[key], default) if key in params else default
        for key, default in defaults.items()
    }


def _convert(name: str, key: str, value: Any, default: object) -> int | float:
    if isinstance(value, Enum):
        value = value.value
    if key.endswith("matype") and isinstance(value, str):
        if value.upper() not in MA_TYPES:
            hint, known = did_you_mean(value, MA_TYPES), ", ".join(MA_TYPES)
            raise BadParameter(f"{name}: {key}={value!r} is no moving average{hint}; use {known}")
        return MA_TYPES[value.upper()]
    whole = isinstance(default, int)
    expected = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise BadParameter(f"{name}: {key}={value!r} is not {expected}; the default is {default}")
    limit = 2**31 - 1 if whole else _REAL_LIMIT
    if not abs(float(value)) <= limit or (whole and value != int(value)):
        raise BadParameter(f"{name}: {key}={value!r} is not {expected} in range")
    return int(value) if whole else float(value)


def _check_range(name: str, defaults: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """Ask TA-Lib itself; where it refuses, find the parameter at fault and its nearest bound."""
    if _accepts(name, params):
        return
    for key, value in params.items():
        if not _accepts(name, {**defaults, key: value}):
            bound = _nearest(name, defaults, key, value)
            raise BadParameter(f"{name}: {key}={value} is out of range; {bound}")
    text = ", ".join(f"{key}={value}" for key, value in params.items())
    raise BadParameter(f"{name}: TA-Lib refuses {text} together")


def _nearest(name: str, defaults: Mapping[str, Any], key: str, value: float) -> str:
    good, bad = defaults[key], value
    if isinstance(good, float):
        return f"the default is {good}"
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        accepted = _accepts(name, {**defaults, key: middle})
        good, bad = (middle, bad) if accepted else (good, middle)
    return f"the {'smallest' if value < good else 'largest'} allowed is {good}"


def _accepts(name: str, params: Mapping[str, Any]) -> bool:
    columns = [np.ones(2)] * len(_inputs(name))
    try:
        getattr(_talib, name)(*columns, *params.values())
    except Exception as error:  # TA-Lib raises nothing more precise
        if "TA_BAD_PARAM" in str(error):
            return False
        raise
    return True
