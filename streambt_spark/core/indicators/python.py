"""Any Python function of NumPy arrays as an indicator."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numba.core.dispatcher import Dispatcher

from streambt_spark.core.code.reach import name_of
from streambt_spark.core.code.references import OPTIONS
from streambt_spark.core.identity import canonical, identity_of, text_of
from streambt_spark.core.indicators.function import Family, Function, Kernel, first_row
from streambt_spark.errors import BadParameter, StrategyError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streambt_spark.core.indicators.function import Columns, Outputs

F = TypeVar("F", bound=Callable[..., Any])
Bars = int | Callable[..., int]
"""A number of bars, or a function of some of the parameters, by name, that gives it."""

_W_MIN, _W_PER_LOOKBACK = 250, 25
_MOST_CARRIED = 1_000


@dataclass(frozen=True, slots=True)
class Options:
    """What a function says of itself; see `indicator`."""

    outputs: tuple[str, ...] = ("real",)
    lookback: Bars = 0
    warmup: Bars | None = None
    commutative: bool = False
    cross_sectional: bool = False
    accumulated: bool = False


def indicator(
    *,
    outputs: tuple[str, ...] | str = ("real",),
    lookback: Bars = 0,
    warmup: Bars | None = None,
    commutative: bool = False,
    cross_sectional: bool = False,
    accumulated: bool = False,
) -> Callable[[F], F]:
    """Say of a function of NumPy arrays what its code does not.

    `outputs` names the arrays it returns (several as a tuple). `lookback` counts the bars before
    its first value: it is never called with fewer, and what it returns there is ignored. `warmup`
    is how many earlier bars a value may depend on: a function is shown that many before the bars
    it is asked for, and no more; where left out, 25 times the lookback and at least 250. Both may
    be functions of the parameters: `lookback=lambda window: window - 1`. `commutative` says that
    the order of the columns is irrelevant; `cross_sectional` that the columns are panels,
    float64[time, symbol].

    A function that says neither lookback nor warmup, and whose value at a row turns out to depend
    on that row alone, such as `np.sign(fast - slow)`, is called once over the new rows of all
    symbols, in any order, and keeps no history.

    `accumulated` is for what depends on every bar since the first, such as a running maximum or a
    latch, which no warm-up restores. Such a function takes a carry before its columns and returns
    it before its outputs: None at the symbol's first bar, then the small float64 vector that it
    returned last. The all-time high:

        @indicator(accumulated=True)
        def all_time_high(carry, high):
            start = -np.inf if carry is None else carry[0]
            top = np.fmax.accumulate(np.append(start, high))[1:]
            return top[-1:], top

    A latch, 1 from an RSI above `hi` until one below `lo`:

        @indicator(accumulated=True)
        def latch(carry, rsi, lo, hi):
            on = 0.0 if carry is None else carry[0]
            out = np.empty(len(rsi))
            for i, value in enumerate(rsi):
                on = 1.0 if value > hi else 0.0 if value < lo else on
                out[i] = on
            return np.array([on]), out
    """
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    if not names or len(set(names)) < len(names) or not all(n.isidentifier() for n in names):
        raise BadParameter(f"outputs={outputs!r} must be one or more different names")
    if accumulated and (cross_sectional or lookback != 0 or warmup is not None):
        raise BadParameter(
            "an accumulated function carries what it needs: it has no lookback and no warmup, "
            "and is not cross_sectional"
        )
    options = Options(names, lookback, warmup, commutative, cross_sectional, accumulated)

    def mark(func: F) -> F:
        setattr(func, OPTIONS, options)
        return func

    return mark


@dataclass(frozen=True, slots=True)
class PythonKernel:
    """One call of a user's function, guarded on both sides.

    `declared` tells that the user said how long the warm-up is, `what` is the identity of `call`
    when it was bound.
    """

    call: Callable[..., Any]
    name: str
    kwargs: Mapping[str, object]
    outputs: tuple[str, ...]
    lookback: int
    declared: bool
    what: str

    def __call__(self, columns: Columns) -> Outputs:
        """Return the outputs as float64.

        Leading rows without a number (in any column; with a lookback, in every one) are not shown
        to the function. Raises StrategyError where it raises or returns something else.
        """
        shape = columns[0].shape
        begin = self._begin(columns)
        outputs = tuple(np.full(shape, np.nan) for _ in self.outputs)
        if begin + self.lookback < shape[0]:
            inputs = [_locked(column[begin:]) for column in columns]
            for output, value in zip(outputs, self.values(inputs), strict=True):
                output[begin + self.lookback :] = value[self.lookback :]
        return outputs

    def values(self, columns: Columns) -> tuple[NDArray[Any], ...]:
        """Return what the function gives for these rows: arrays of numbers of the columns' shape.

        The columns are contiguous, for the bits may depend on strides, and read-only.
        """
        result = _call(self.call, self.name, columns, self.kwargs)
        values = result if isinstance(result, tuple) else (result,)
        return _checked(values, self.name, self.outputs, columns[0].shape)

    def _begin(self, columns: Columns) -> int:
        if columns[0].ndim == 1 and len(columns[0]) and all(c[0] == c[0] for c in columns):
            return 0
        return first_row(columns, every=self.lookback > 0 and columns[0].ndim == 1)


@dataclass(frozen=True, slots=True)
class CarryingKernel:
    """One call of a user's accumulated function, guarded on both sides."""

    call: Callable[..., Any]
    name: str
    kwargs: Mapping[str, object]
    outputs: tuple[str, ...]
    what: str

    def __call__(self, columns: Columns) -> Outputs:
        """Return the outputs over rows that start at the first bar."""
        return self.accumulate(None, columns)[1]

    def accumulate(
        self, carry: NDArray[np.float64] | None, columns: Columns
    ) -> tuple[NDArray[np.float64] | None, Outputs]:
        """Return the new carry and the outputs; the rows before the first number are not shown."""
        shape = columns[0].shape
        begin = first_row(columns, every=False) if carry is None else 0
        outputs = tuple(np.full(shape, np.nan) for _ in self.outputs)
        if begin < len(columns[0]):
            inputs = [_locked(column[begin:]) for column in columns]
            copy = None if carry is None else carry.copy()
            carry, values = self._go_on(copy, inputs, len(inputs[0]))
            for output, value in zip(outputs, values, strict=True):
                output[begin:] = value
        return carry, outputs

    def _go_on(
        self, carry: NDArray[np.float64] | None, columns: Columns, rows: int
    ) -> tuple[NDArray[np.float64], tuple[NDArray[Any], ...]]:
        result = _call(self.call, self.name, (carry, *columns), self.kwargs)
        if not isinstance(result, tuple) or len(result) < 2:
            raise StrategyError(
                f"{self.name} returned {type(result).__name__}; an accumulated function returns "
                f"(carry, {', '.join(self.outputs)})"
            )
        after, values = np.asarray(result[0]), result[1:]
        fits = after.dtype.kind in "biuf" and after.ndim <= 1 and after.size <= _MOST_CARRIED
        if not fits or (carry is not None and after.size != carry.size):
            size = f"{_MOST_CARRIED} at most" if carry is None else str(carry.size)
            raise StrategyError(
                f"{self.name}: the carry is {after.dtype} of shape {after.shape}, expected a "
                f"vector of numbers, always as many, here {size}"
            )
        return (
            np.array(after, np.float64).reshape(-1),
            _checked(values, self.name, self.outputs, (rows,)),
        )


def _locked(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a contiguous view that no user can write to."""
    view = np.ascontiguousarray(column).view()
    view.flags.writeable = False
    return view


def _call(
    call: Callable[..., Any], name: str, arguments: Sequence[Any], kwargs: Mapping[str, object]
) -> Any:
    if isinstance(call, Dispatcher):
        # Signatures written out refuse read-only arrays, and compiled code could write to others.
        arguments = [None if a is None else a.copy() for a in arguments]
    try:
        return call(*arguments, **kwargs)
    except Exception as error:  # whatever the user's code raises
        raise StrategyError(f"{name} raised {_one_line(error)}") from error


def _checked(
    values: tuple[object, ...], name: str, outputs: tuple[str, ...], shape: tuple[int, ...]
) -> tuple[NDArray[Any], ...]:
    if len(values) != len(outputs):
        expected = f"{len(outputs)} ({', '.join(outputs)})"
        raise StrategyError(f"{name} returned {len(values)} outputs, expected {expected}")
    arrays = tuple(map(np.asarray, values))
    for array, output in zip(arrays, outputs, strict=True):
        if array.shape != shape or array.dtype.kind not in "biuf":
            raise StrategyError(
                f"{name}: output {output!r} is {array.dtype} of shape {array.shape}, "
                f"expected numbers of the columns' shape {shape}"
            )
    return arrays


def bind(func: Callable[..., Any], params: Mapping[str, object]) -> Function:
    """Return a Python function of NumPy arrays with its parameters bound, defaults filled in.

    Its columns are the positional arguments that have no default and are not among `params`; with
    `*columns` it takes any number of them, and `inputs` is empty.
    Raises BadParameter where a parameter is unknown or has no stable text.
    """
    what = identity_of(func)
    name = name_of(func)
    options: Options = getattr(func, OPTIONS, Options())
    inputs, bound = _bind_params(func, name, params, carries=options.accumulated)
    lookback = _bars(options.lookback, bound, f"{name}: lookback")
    default = max(_W_MIN, _W_PER_LOOKBACK * lookback)
    rule = default if options.warmup is None else options.warmup
    warmup = max(lookback, _bars(rule, bound, f"{name}: warmup"))
    kwargs = {key: bound[key] for key in bound if key in params}
    family = Family.CROSS_SECTIONAL if options.cross_sectional else Family.ANCHORED
    declared = options.warmup is not None
    kernel: Kernel = PythonKernel(func, name, kwargs, options.outputs, lookback, declared, what)
    if options.accumulated:
        family, warmup = Family.ACCUMULATED, 0
        kernel = CarryingKernel(func, name, kwargs, options.outputs, what)
    facts = (options.outputs, family, lookback, warmup, options.commutative)
    ordered = tuple(sorted(bound.items()))
    return Function(
        name=name,
        identity="\n".join(
            (
                what,
                f"options {text_of(facts)}",
                f"columns {text_of(inputs)}",
                f"params {', '.join(f'{key}={text_of(value)}' for key, value in ordered)}",
            )
        ),
        inputs=inputs,
        outputs=options.outputs,
        params=ordered,
        family=family,
        lookback=lookback,
        warmup=warmup,
        commutative=options.commutative,
        kernel=kernel,
    )


def _bind_params(
    func: Callable[..., Any], name: str, params: Mapping[str, object], *, carries: bool
) -> tuple[tuple[str, ...], dict[str, object]]:
    takes = _signature(func, name)
    if carries:
        if not takes or takes[0].kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            raise BadParameter(f"{name} is accumulated: its first argument must be the carry")
        takes = takes[1:]
    columns = [
        p.name
        for p in takes
        if p.default is p.empty and p.name not in params and p.kind is not p.KEYWORD_ONLY
    ]
    allowed = {
        p.name: p.default
        for p in takes
        if p.name not in columns and p.kind is not p.POSITIONAL_ONLY
    }
    for key in params:
        if key not in allowed:
            hint, known = did_you_mean(key, allowed), ", ".join(allowed) or "none"
            raise BadParameter(f"{name} has no parameter {key!r}{hint}; its parameters: {known}")
    values = {key: params.get(key, default) for key, default in allowed.items()}
    missing = [key for key, value in values.items() if value is inspect.Parameter.empty]
    if missing:
        raise BadParameter(f"{name} needs a value for {', '.join(missing)}")
    if not columns:
        raise BadParameter(f"{name} takes no column: its first argument must have no default")
    variadic = any(p.kind is p.VAR_POSITIONAL for p in takes)
    return () if variadic else tuple(columns), {
        key: canonical(value, f"{name}: parameter {key!r}") for key, value in values.items()
    }


def _signature(func: Callable[..., Any], name: str) -> tuple[inspect.Parameter, ...]:
    target = func.py_func if isinstance(func, Dispatcher) else func
    try:
        parameters = tuple(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        raise BadParameter(f"{name} has no signature; wrap it in a function of your own") from None
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            raise BadParameter(f"{name} takes {parameter}; name its parameters one by one")
    return parameters


def _bars(rule: Bars, params: Mapping[str, object], where: str) -> int:
    value: object = rule
    if callable(rule):
        names = inspect.signature(rule).parameters
        try:
            value = rule(**{key: params[key] for key in params if key in names})
        except Exception as error:  # the rule is the user's code
            raise BadParameter(f"{where} raised {_one_line(error)}") from error
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise BadParameter(f"{where} is {value!r}, expected a number of bars")
    return int(value)


def _one_line(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{text} (line {frames[-1].lineno}, in {frames[-1].name})" if len(frames) > 1 else text
