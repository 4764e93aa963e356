"""All that a function reaches, as (path, text) pairs that are the same in every process.

It follows functions, classes, constants and the user's own modules, and refuses what can change
unseen, for state would hide in it.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import importlib
import importlib.util
import logging
import re
import sys
import types
from collections import Counter
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePath
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MethodType,
    ModuleType,
)
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numba.core.dispatcher import Dispatcher

from streambt_spark.core.code.origin import Origin, installed_text, origin_of
from streambt_spark.core.code.references import captured, global_paths, imports, written
from streambt_spark.core.code.source import code_text, module_text
from streambt_spark.errors import BadParameter

_FROZEN = (
    complex, bytes, range, Decimal, Fraction, datetime.date, datetime.time, datetime.timedelta,
    datetime.timezone, ZoneInfo, PurePath, np.dtype, types.GenericAlias, types.EllipsisType,
    types.NotImplementedType,
)  # fmt: skip
"""Values that never change and whose repr tells all of them."""

_CHANGING = {
    list: "write it as a tuple",
    dict: "wrap it as types.MappingProxyType({...}) or write it as tuples",
    set: "write it as a frozenset",
    bytearray: "write it as bytes",
    np.ndarray: "write it as a tuple, or make it inside the function",
}
_HIDING = frozenset({"eval", "exec", "compile", "__import__", "globals"})
_SKIPPED = frozenset({
    "__annotations__", "__dataclass_fields__", "__dataclass_params__", "__dict__", "__doc__",
    "__firstlineno__", "__match_args__", "__module__", "__orig_bases__", "__parameters__",
    "__qualname__", "__replace__", "__static_attributes__", "__weakref__", "__wrapped__",
    "__abstractmethods__", "_abc_impl", "__annotate__", "__annotations_cache__", "_is_protocol",
    "__protocol_attrs__", "__non_callable_proto_members__", "__callable_proto_members_only__",
    "_is_runtime_protocol", "__subclasshook__",
})  # fmt: skip


_OF_NAMED_TUPLES = frozenset(
    {"__new__", "__getnewargs__", "__repr__", "__slots__", "_make", "_replace", "_asdict"}
)


def name_of(value: object) -> str:
    """Return what to call a function in a message."""
    if isinstance(value, functools.partial):
        return f"partial {name_of(value.func)}"
    return str(getattr(value, "__qualname__", None) or type(value).__qualname__)


def library_name(value: object) -> str | None:
    """Return the name of what a library or an installed package holds, None for anything else."""
    if isinstance(value, types.MethodType):
        return None
    name = getattr(value, "__module__", None)
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None or module.__name__ == "__main__":
        return None
    origin = origin_of(module)
    if origin is Origin.USER:
        return None
    qualname = getattr(value, "__qualname__", "")
    if not qualname or _member(module, qualname) is not value:
        return None
    full_name = f"{module.__name__}.{qualname}"
    return full_name if origin is Origin.LIBRARY else f"{full_name} of {installed_text(module)}"


def _member(module: ModuleType, qualname: str) -> object:
    member: object = module
    for part in qualname.split("."):
        member = getattr(member, part, None)
    return member


class Reach:
    """Collects (path, text) of all that a function reaches, each thing once.

    `lenient` walks a module that is taken as a whole: what may never be used is told as well as it
    can be, and not refused.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.lenient = False
        self._paths: Counter[str] = Counter()
        self._first_paths: dict[int, str] = {}
        self._values: list[object] = []  # so that no id is used twice

    def tell(self, path: str, text: str) -> None:
        """Add one line; a path that was told already gets a number."""
        self._paths[path] += 1
        again = f" ({self._paths[path]})" if self._paths[path] > 1 else ""
        self.lines.append((path + again, text.replace("\n", "\\n")))

    def value(self, path: str, value: object) -> None:
        """Tell of any value."""
        plain = _plain_text(value)
        if plain is not None:
            self.tell(path, plain)
            return
        if id(value) in self._first_paths:
            self.tell(path, f"again {self._first_paths[id(value)]}")
            return
        self._first_paths[id(value)] = path
        self._values.append(value)
        library = library_name(value)
        if library is not None:
            self.tell(path, f"name {library}")
        elif isinstance(value, ModuleType):
            self._module(path, value)
        elif isinstance(value, type):
            self._class(path, value)
        elif isinstance(value, FunctionType | Dispatcher):
            self._function(path, value)
        elif not self._wrapper(path, value) and not self._container(path, value):
            self._object(path, value)

    def _object(self, path: str, value: object) -> None:
        """Tell of an object by the library's name for it, or by the compiled module it is from."""
        name = path.rpartition(": ")[2].rpartition(".")[2]
        module = sys.modules.get(getattr(value, "__module__", None) or "")
        if (known := _library_object(name, value)) is not None:
            self.tell(path, f"object {known}")
        elif callable(value) and module is not None and _member(module, name_of(value)) is value:
            self.tell(path, f"name {module.__name__}.{name_of(value)}")
            self.value(f"{path}: module", module)
        else:
            self._refuse(path, value)

    def _refuse(self, path: str, value: object) -> None:
        if self.lenient:
            self.tell(path, f"a {type(value).__qualname__}{_lenient_text(value)}")
            self._first_paths.pop(id(value), None)  # where it is used by name, it is still refused
            return
        owner, _, name = path.rpartition(": ")
        for kind, advice in _CHANGING.items():
            if isinstance(value, kind):
                raise BadParameter(
                    f"{owner} uses {name!r} from outside, which is a {type(value).__name__} and "
                    f"can change unseen; {advice}, or pass it to the function as a parameter"
                )
        raise BadParameter(
            f"{owner} uses {name!r} from outside, which is a {type(value).__name__}: an object "
            "with state or without a stable text; pass it to the function as a parameter, or the "
            "numbers and texts that the function takes from it"
        )

    # --- what wraps or holds others ---------------------------------------------------------------

    def _wrapper(self, path: str, value: object) -> bool:
        """Tell of what stands for a function."""
        if isinstance(value, MethodType):
            self.value(path, value.__func__)
            self.value(f"{path}: __self__", value.__self__)
        elif isinstance(value, functools.partial):
            self.tell(path, "partial")
            self.value(f"{path}: func", value.func)
            for i, item in enumerate(value.args):
                self.value(f"{path}: argument {i}", item)
            for name, item in sorted(value.keywords.items()):
                self.value(f"{path}: {name}", item)
        elif isinstance(value, staticmethod | classmethod):
            self.tell(path, type(value).__name__)
            self.value(f"{path}: function", value.__func__)
        elif isinstance(value, property):
            self.tell(path, "property")
            for name in ("fget", "fset", "fdel"):
                self.value(f"{path}: {name}", getattr(value, name))
        elif isinstance(value, functools.cached_property):
            self.tell(path, "cached_property")
            self.value(f"{path}: func", value.func)
        elif isinstance(value, np.vectorize):
            self.tell(path, f"vectorize {value.otypes!r} {value.signature!r} {value.excluded!r}")
            self.value(f"{path}: pyfunc", value.pyfunc)
        elif hasattr(value, "cache_parameters"):  # functools.lru_cache
            self.tell(path, "lru_cache")
            self.value(f"{path}: function", getattr(value, "__wrapped__", None))
        elif callable(value) and isinstance(_compiled_from(value), FunctionType):
            self.tell(path, f"compiled {type(value).__qualname__}")
            self.value(f"{path}: function", _compiled_from(value))
        elif isinstance(value, BuiltinFunctionType | types.MethodWrapperType):
            owner = getattr(value, "__self__", None)
            self.tell(path, f"name {getattr(value, '__module__', None)}.{name_of(value)}")
            if owner is not None:
                self.value(f"{path}: __self__", owner)
        elif isinstance(value, types.WrapperDescriptorType | types.MethodDescriptorType):
            self.tell(path, f"name {value.__objclass__.__qualname__}.{value.__name__}")
        elif isinstance(value, np.ufunc):
            self.tell(path, f"ufunc {value.__name__}")
        elif isinstance(value, logging.Logger):
            self.tell(path, f"logger {value.name}")
        else:
            return False
        return True

    def _container(self, path: str, value: object) -> bool:
        """Tell of what holds values and cannot change."""
        if isinstance(value, Enum):
            self.tell(path, f"{type(value).__qualname__}.{value.name}")
            self.value(f"{path}: class", type(value))
        elif type(value) is frozenset:
            texts = sorted(_plain_text(item) or self._unstable(path, item) for item in value)
            self.tell(path, f"frozenset {', '.join(texts)}")
        elif isinstance(value, tuple):
            names = getattr(value, "_fields", range(len(value)))
            self.tell(path, f"{type(value).__qualname__} of {len(value)}")
            if type(value) is not tuple:
                self.value(f"{path}: class", type(value))
            for name, item in zip(names, value, strict=True):
                self.value(f"{path}: {name}", item)
        elif type(value) is MappingProxyType:
            self.tell(path, f"mapping of {len(value)}")
            for key, item in value.items():
                self.value(f"{path}: {_plain_text(key) or self._unstable(path, key)}", item)
        elif _is_frozen(value):
            self.tell(path, type(value).__qualname__)
            self.value(f"{path}: class", type(value))
            for item in dataclasses.fields(value):  # type: ignore[arg-type]
                self.value(f"{path}: {item.name}", getattr(value, item.name))
        else:
            return False
        return True

    def _unstable(self, path: str, value: object) -> str:
        self._refuse(path, value)
        return f"a {type(value).__qualname__}"

    # --- code ---------------------------------------------------------------------------------

    def _function(self, path: str, func: Any) -> None:
        options = ""
        if isinstance(func, Dispatcher):
            options = f" numba {sorted(func.targetoptions.items())!r}"
            func = func.py_func
        self.tell(path, f"def {func.__qualname__}{options}")
        self.tell(f"{path}: code", code_text(func))
        self._check_state(func)
        owner = f"{path}: " if self.lenient else f"{func.__qualname__}: "
        for name, value in captured(func):
            self.value(f"{owner}{name}", value)
        for names in imports(func.__code__):
            self._import(f"{owner}import", func, *names)

    def _check_state(self, func: FunctionType) -> None:
        if self.lenient:
            return
        for name in written(func.__code__):
            raise BadParameter(
                f"{func.__qualname__} writes to {name!r} outside of it, so it has a state of its "
                "own; an indicator depends on its columns and parameters alone: what it must "
                "remember, an accumulated function carries (@indicator(accumulated=True))"
            )
        for path in global_paths(func.__code__):
            if path[0] in func.__globals__:
                continue
            if path[0] in _HIDING:
                self._hidden(func, path[0])
        for path in global_paths(func.__code__):
            root = func.__globals__.get(path[0])
            if root is importlib.import_module or (
                isinstance(root, ModuleType)
                and path[1:2] in (("import_module",), ("modules",))
                and root.__name__ in ("importlib", "sys")
            ):
                self._hidden(func, ".".join(path[:2]))

    def _hidden(self, func: FunctionType, name: str) -> None:
        raise BadParameter(
            f"{func.__qualname__} uses {name}, which hides the code that it reaches; import it by "
            "its name"
        )

    def _import(
        self, path: str, func: FunctionType, level: int, module: str, names: tuple[str, ...]
    ) -> None:
        """Tell of an import inside a function."""
        package = func.__globals__.get("__package__") or ""
        try:
            full = importlib.util.resolve_name("." * level + module, package) if level else module
            target = importlib.import_module(full)
        except Exception:  # whatever the user's module raises: the function may be ready for it
            self.tell(f"{path} {module}", "missing")
            return
        if origin_of(target) is not Origin.USER or not names:
            self.value(f"{path} {module}", target)
            return
        for name in names:
            try:
                value = getattr(target, name)
            except AttributeError:
                value = sys.modules.get(f"{full}.{name}")
            self.value(f"{path} {module}.{name}", value)

    def _class(self, path: str, cls: type) -> None:
        self.tell(path, f"class {cls.__qualname__}")
        for i, base in enumerate((type(cls), *cls.__bases__)):
            self.value(f"{cls.__qualname__}: base {i}", base)
        if issubclass(cls, Enum):
            for name, member in cls.__members__.items():
                self.value(f"{cls.__qualname__}: {name}", member.value)
        elif dataclasses.is_dataclass(cls):
            params: Any = cls.__dataclass_params__  # type: ignore[attr-defined]
            options = [getattr(params, name) for name in ("init", "eq", "order", "frozen")]
            self.tell(f"{cls.__qualname__}: options", repr(options))
            for field in dataclasses.fields(cls):
                self.tell(f"{cls.__qualname__}: field", f"{field.name} {field.init} {field.repr}")
                for value in (field.default, field.default_factory):
                    if value is not dataclasses.MISSING:
                        self.value(f"{cls.__qualname__}: {field.name}", value)
        for name, value in sorted(vars(cls).items()):
            if not _is_made_by_python(cls, name, value):
                self.value(f"{cls.__qualname__}: {name}", value)

    def _module(self, path: str, module: ModuleType) -> None:
        """Tell of a module that a function takes as a whole: it may use anything of it."""
        origin = origin_of(module)
        if origin is not Origin.USER:
            which = f" of {installed_text(module)}" if origin is Origin.INSTALLED else ""
            self.tell(path, f"module {module.__name__}{which}")
            return
        self.tell(path, f"module {module.__name__} {_module_digest(module)}")
        before, self.lenient = self.lenient, True
        for name, value in sorted(vars(module).items()):
            if not (name.startswith("__") and name.endswith("__")):
                self.value(f"{module.__name__}: {name}", value)
        for name in sorted(sys.modules):
            if name.startswith(f"{module.__name__}."):
                self.value(f"{module.__name__}: {name}", sys.modules[name])
        self.lenient = before


def _plain_text(value: object) -> str | None:
    """Return the text of a value that cannot change and holds no other."""
    if value is None or type(value) in (bool, int, float, str):
        return repr(value)
    if isinstance(value, np.generic):
        kind = value.dtype.str
        return repr(value.item()) if kind[1] in "biuf" else f"{kind} {value!s}"
    if isinstance(value, re.Pattern):
        return f"pattern {value.pattern!r} {value.flags}"
    if type(value) is slice:
        parts = [_plain_text(part) for part in (value.start, value.stop, value.step)]
        return None if None in parts else f"slice {parts!r}"
    if isinstance(value, _FROZEN) and _is_of_library(type(value)):
        return f"{type(value).__qualname__} {value!r}"
    return None


def _library_object(name: str, value: object) -> str | None:
    """Return what a library calls an object that it offers under this name."""
    parts = type(value).__module__.split(".")
    for depth in range(1, len(parts) + 1):
        module = sys.modules.get(".".join(parts[:depth]))
        if module is None or getattr(module, name, None) is not value:
            continue
        origin = origin_of(module)
        if origin is not Origin.USER:
            of = f" of {installed_text(module)}" if origin is Origin.INSTALLED else ""
            return f"{module.__name__}.{name}{of}"
    return None


def _is_of_library(cls: type) -> bool:
    module = sys.modules.get(cls.__module__)
    return module is not None and origin_of(module) is not Origin.USER


def _is_frozen(value: object) -> bool:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return False
    params: Any = value.__dataclass_params__  # type: ignore[attr-defined]
    return bool(params.frozen)


def _compiled_from(value: object) -> object:
    """Return the Python function of numba's vectorize and guvectorize."""
    if not type(value).__module__.startswith("numba."):
        return None
    dispatcher = getattr(value, "_dispatcher", None) or getattr(value, "gufunc_builder", None)
    return getattr(dispatcher or value, "py_func", None)


def _is_made_by_python(cls: type, name: str, value: object) -> bool:
    """Tell whether a member of a class follows from the rest of it."""
    if name in _SKIPPED or isinstance(
        value, types.MemberDescriptorType | types.GetSetDescriptorType
    ):
        return True
    if issubclass(cls, Enum):
        plain = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        own = isinstance(plain, FunctionType | property) and library_name(plain) is None
        made_by_enum = isinstance(plain, FunctionType) and plain.__module__ == "enum"
        return not own or made_by_enum
    if isinstance(value, FunctionType) and dataclasses.is_dataclass(cls):
        maker = value.__globals__.get("__name__")
        return value.__code__.co_filename.startswith("<") or maker in ("dataclasses", "reprlib")
    fields: Any = getattr(cls, "_fields", None)
    if fields is not None and issubclass(cls, tuple):  # a NamedTuple
        return name in _OF_NAMED_TUPLES or name.startswith("_field") or name in fields
    return name == "__slots__"


def _module_digest(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return "without a file"
    try:
        data = Path(file).read_bytes()
    except OSError:
        return "without a file"
    try:
        return module_text(data.decode())
    except (SyntaxError, ValueError):
        return hashlib.sha256(data).hexdigest()


def _lenient_text(value: object) -> str:
    """Return what can be told of a value that can change, in a module that is taken as a whole."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufMm":
        return f" {value.shape} {hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    if isinstance(value, list | tuple):
        return (
            f" [{', '.join(_plain_text(v) or type(v).__name__ + _lenient_text(v) for v in value)}]"
        )
    if isinstance(value, set):
        return f" {sorted(_plain_text(v) or type(v).__name__ for v in value)}"
    if isinstance(value, dict):
        items = ((_plain_text(k) or type(k).__name__, v) for k, v in value.items())
        inner = (f"{k}: {_plain_text(v) or type(v).__name__ + _lenient_text(v)}" for k, v in items)
        return f" {{{', '.join(inner)}}}"
    return ""
