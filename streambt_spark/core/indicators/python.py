"""Any Python function of NumPy arrays as an indicator."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numba.core.dispatcher import Dispatcher

from streambt_spark.core.identity import canonical, identity_of, text_of
from streambt_spark.core.indicators.function import Family, Function, first_row
from streambt_spark.errors import BadParameter, StrategyError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.indicators.function import Columns, Outputs

F = TypeVar("F", bound=Callable[..., Any])
Bars = int | Callable[..., int]
"""A number of bars, or a function of some of the parameters, by name, that gives it."""

_W_MIN, _W_PER_LOOKBACK = 250, 25
_OPTIONS = "__streambt_indicator__"


@dataclass(frozen=True, slots=True)
class Options:
    """What a function says of itself; see `indicator`."""

    outputs: tuple[str, ...] = ("real",)
    lookback: Bars = 0
    warmup: Bars | None = None
    commutative: bool = False
    cross_sectional: bool = False


def indicator(
    *,
    outputs: tuple[str, ...] | str = ("real",),
    lookback: Bars = 0,
    warmup: Bars | None = None,
    commutative: bool = False,
    cross_sectional: bool = False,
) -> Callable[[F], F]:
    """Say of a function of NumPy arrays what its code does not.

    `outputs` names the arrays it returns (several as a tuple). `lookback` counts the bars before
    its first value: it is never called with fewer, and what it returns there is ignored. `warmup`
    is how many earlier bars a value may depend on; where left out, 25 times the lookback and at
    least 250. Both may be functions of the parameters: `lookback=lambda window: window - 1`.
    `commutative` says that the order of the columns is irrelevant; `cross_sectional` that the
    columns are panels, float64[time, symbol].
    """
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    if not names or len(set(names)) < len(names) or not all(n.isidentifier() for n in names):
        raise BadParameter(f"outputs={outputs!r} must be one or more different names")
    options = Options(names, lookback, warmup, commutative, cross_sectional)

    def mark(func: F) -> F:
        setattr(func, _OPTIONS, options)
        return func

    return mark


@dataclass(frozen=True, slots=True)
class PythonKernel:
    """One call of a user's function, guarded on both sides."""

    call: Callable[..., Any]
    name: str
    kwargs: Mapping[str, object]
    outputs: tuple[str, ...]
    lookback: int
    declared: bool  # the user said how long the warm-up is

    def __call__(self, columns: Columns) -> Outputs:
        """Return the outputs as float64.

        Leading rows without a number (in any column; with a lookback, in every one) are not shown
        to the function. Raises StrategyError where it raises or returns something else.
        """
        shape = columns[0].shape
        begin = self._begin(columns)
        if begin + self.lookback >= len(columns[0]):
            return tuple(np.full(shape, np.nan) for _ in self.outputs)
        views = tuple(self._protect(column[begin:]) for column in columns)
        try:
            result = self.call(*views, **self.kwargs)
        except Exception as error:  # whatever the user's code raises
            raise StrategyError(f"{self.name} raised {_one_line(error)}") from error
        values = result if isinstance(result, tuple) else (result,)
        if len(values) != len(self.outputs):
            expected = f"{len(self.outputs)} ({', '.join(self.outputs)})"
            raise StrategyError(f"{self.name} returned {len(values)} outputs, expected {expected}")
        return tuple(
            self._checked(value, views[0].shape, begin, output)
            for value, output in zip(values, self.outputs, strict=True)
        )

    def _begin(self, columns: Columns) -> int:
        if columns[0].ndim == 1 and len(columns[0]) and all(c[0] == c[0] for c in columns):
            return 0
        return first_row(columns, every=self.lookback > 0 and columns[0].ndim == 1)

    def _protect(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        """A contiguous view no user can write to; the bits may depend on strides."""
        view = np.ascontiguousarray(column).view()
        if not isinstance(self.call, Dispatcher):  # signatures written out refuse read-only arrays
            view.flags.writeable = False
        return view

    def _checked(
        self, value: object, shape: tuple[int, ...], begin: int, output: str
    ) -> NDArray[np.float64]:
        array = np.asarray(value)
        if array.shape != shape or array.dtype.kind not in "biuf":
            raise StrategyError(
                f"{self.name}: output {output!r} is {array.dtype} of shape {array.shape}, "
                f"expected numbers of the columns' shape {shape}"
            )
        values = np.empty((begin + shape[0], *shape[1:]))
        values[begin:] = array
        values[: begin + self.lookback] = np.nan
        return values


def bind(func: Callable[..., Any], params: Mapping[str, object]) -> Function:
    """Return a Python function of NumPy arrays with its parameters bound, defaults filled in.

    Its columns are the positional arguments that have no default and are not among `params`; with
    `*columns` it takes any number of them, and `inputs` is empty.
    Raises BadParameter where a parameter is unknown or has no stable text.
    """
    what = identity_of(func)
    name = func.__qualname__
    options: Options = getattr(func, _OPTIONS, Options())
    inputs, bound = _bind_params(func, name, params)
    lookback = _bars(options.lookback, bound, f"{name}: lookback")
    default = max(_W_MIN, _W_PER_LOOKBACK * lookback)
    given = default if options.warmup is None else options.warmup
    warmup = max(lookback, _bars(given, bound, f"{name}: warmup"))
    kwargs = {key: bound[key] for key in bound if key in params}
    family = Family.CROSS_SECTIONAL if options.cross_sectional else Family.ANCHORED
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
        kernel=PythonKernel(
            func, name, kwargs, options.outputs, lookback, options.warmup is not None
        ),
    )


def _bind_params(
    func: Callable[..., Any], name: str, params: Mapping[str, object]
) -> tuple[tuple[str, ...], dict[str, object]]:
    takes = _signature(func, name)
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
        wanted = inspect.signature(rule).parameters
        try:
            value = rule(**{key: params[key] for key in params if key in wanted})
        except Exception as error:  # the rule is the user's code
            raise BadParameter(f"{where} raised {_one_line(error)}") from error
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise BadParameter(f"{where} is {value!r}, expected a number of bars")
    return int(value)


def _one_line(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{text} (line {frames[-1].lineno}, in {frames[-1].name})" if len(frames) > 1 else text
