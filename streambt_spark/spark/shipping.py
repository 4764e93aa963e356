"""How a strategy's own modules reach Spark's workers, which cannot import them.

A shipped value is pickled together with the source of the modules it needs. Where it arrives they
can be imported, also by an import inside a function, before the value is opened. Functions and
classes of these modules travel by value, as they are here; so do their plain constants, which may
have been changed since the import.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from pyspark import cloudpickle as _cloudpickle

cloudpickle: Any = _cloudpickle  # it has no types
T = TypeVar("T")
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


@dataclass(frozen=True, slots=True)
class Source:
    """A module as it is shipped; `constants` are its plain values at the time."""

    text: str
    file: str
    is_package: bool
    constants: dict[str, Any]


class Shipped(Generic[T]):
    """A value and the modules that what is in it needs; a pickled one opens by itself."""

    def __init__(self, value: T, modules: Sequence[ModuleType] = ()) -> None:
        self.value = value
        self.modules = tuple(modules)

    def __reduce__(self) -> tuple[Any, ...]:
        sources = {m.__name__: s for m in self.modules if (s := _source(m)) is not None}
        with _by_value(self.modules):
            buffer = BytesIO()
            _Pickler(buffer, frozenset(sources)).dump(self.value)
        return _opened, (sources, buffer.getvalue())


def _opened(sources: dict[str, Source], data: bytes) -> Shipped[Any]:
    install(sources)
    return Shipped(cloudpickle.loads(data))


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """Pickles shipped modules as imports; what is in them, by value."""

    def __init__(self, file: BytesIO, shipped: frozenset[str]) -> None:
        super().__init__(file)
        self._shipped = shipped

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, ModuleType) and obj.__name__ in self._shipped:
            return importlib.import_module, (obj.__name__,)
        return super().reducer_override(obj)


class _by_value:  # noqa: N801 - a context manager
    """Pickle what is in these modules by value, for a while."""

    def __init__(self, modules: Sequence[ModuleType]) -> None:
        known: frozenset[str] = frozenset(cloudpickle.list_registry_pickle_by_value())
        self._modules = [m for m in modules if m.__name__ not in known]

    def __enter__(self) -> None:
        for module in self._modules:
            cloudpickle.register_pickle_by_value(module)

    def __exit__(self, *_: object) -> None:
        for module in self._modules:
            cloudpickle.unregister_pickle_by_value(module)


def _source(module: ModuleType) -> Source | None:
    """Return a module's source, None where it has none that can be sent."""
    file, folders = getattr(module, "__file__", None), list(getattr(module, "__path__", ()))
    constants = {
        name: value
        for name, value in vars(module).items()
        if _is_plain(value) and not (name.startswith("__") and name.endswith("__"))
    }
    if file is None:
        return Source("", folders[0], True, constants) if folders else None
    try:
        text = Path(file).read_text("utf-8")
    except (OSError, ValueError):
        return None
    return Source(text, file, bool(folders), constants)


def _is_plain(value: object) -> bool:
    if type(value) in (tuple, frozenset):
        return all(map(_is_plain, value))  # type: ignore[call-overload]
    return type(value) in _PLAIN


@dataclass(eq=False)
class _Finder(MetaPathFinder, InspectLoader):
    """Finds shipped modules, before any others of their names."""

    sources: dict[str, Source] = field(default_factory=dict)

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> Any:
        """Return how to load a shipped module."""
        if fullname not in self.sources:
            return None
        found = self.sources[fullname]
        spec: ModuleSpec | None = spec_from_loader(
            fullname, self, origin=found.file, is_package=found.is_package
        )
        if spec is not None and spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(str(Path(found.file).parent))
        return spec

    def is_package(self, fullname: str) -> bool:
        """Tell whether a shipped module is a package."""
        return self.sources[fullname].is_package

    def get_source(self, fullname: str) -> str:
        """Return a shipped module's source."""
        return self.sources[fullname].text

    def exec_module(self, module: ModuleType) -> None:
        """Run a shipped module and set its constants to what they were where it came from."""
        found = self.sources[module.__name__]
        module.__file__ = found.file
        exec(compile(found.text, found.file, "exec"), vars(module))  # noqa: S102 - it is an import
        vars(module).update(found.constants)


_FINDER = _Finder()


def install(sources: dict[str, Source]) -> None:
    """Make shipped modules importable in this process, in place of others of their names.

    A module that was loaded from the very file it was shipped from stays as it is.
    """
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    for name, source in sources.items():
        loaded = sys.modules.get(name)
        shipped = getattr(loaded, "__loader__", None) is _FINDER
        if loaded is not None and not shipped and getattr(loaded, "__file__", "") == source.file:
            continue
        if _FINDER.sources.get(name) != source or not shipped:
            sys.modules.pop(name, None)
        _FINDER.sources[name] = source
