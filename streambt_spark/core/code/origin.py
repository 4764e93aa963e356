"""Where code comes from: a library that is known by name, an installed package, or the user.

The standard library, this package and what it depends on are told by their names: the manifest
binds their versions. Another installed package counts by the content of its distribution, for it
can change without a change of the strategy. All else is the user's own code, whatever its name: a
`profile.py` of his is not the standard library's.
"""

from __future__ import annotations

import hashlib
import re
import site
import sys
import sysconfig
from enum import Enum
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

_OWN = "streambt-spark"
_PACKAGE = Path(__file__).parents[2]
_KNOWN = frozenset({"llvmlite", "numba", "numpy", "pandas", "pyarrow", "talib"})
"""Import names of dependencies, so that their metadata need not be read."""

_CODE = (".py", ".so", ".pyd", ".dylib", ".json", ".toml", ".yaml", ".yml", ".csv")


class Origin(Enum):
    """Whose code a module is."""

    LIBRARY = "library"
    INSTALLED = "installed"
    USER = "user"


def origin_of(module: ModuleType) -> Origin:
    """Tell whose code a module is, by the file it was loaded from."""
    return _origin(module.__name__, _file(module))


def installed_text(module: ModuleType) -> str:
    """Return the distribution of an installed module: its name, version and content."""
    names = _distributions(module.__name__.partition(".")[0])
    return " and ".join(f"{name} {_metadata().version(name)} {_content(name)}" for name in names)


def _metadata() -> Any:
    from importlib import metadata  # a worker, which asks for none, does without its many imports

    return metadata


def _file(module: ModuleType) -> str:
    """Return the file or, of a namespace package, the folder; of a built-in module its kind."""
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return file
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.origin in ("built-in", "frozen"):
        return str(spec.origin)
    return next(iter(getattr(module, "__path__", ())), "")


@lru_cache(maxsize=4096)
def _origin(name: str, file: str) -> Origin:
    if file in ("built-in", "frozen"):
        return Origin.LIBRARY
    path, root = Path(file), name.partition(".")[0]
    for folder in _site_folders():
        if path.is_relative_to(folder) and _is_at(path, folder, name):
            return _installed_origin(root)
    if root == _PACKAGE.name and path.is_relative_to(_PACKAGE):
        return Origin.LIBRARY
    standard = any(path.is_relative_to(folder) for folder in _standard_folders())
    sited = {"site-packages", "dist-packages"} & set(path.parts)
    if standard and not sited and root in sys.stdlib_module_names:
        return Origin.LIBRARY
    return Origin.USER


def _is_at(path: Path, folder: Path, name: str) -> bool:
    """Tell whether a file is where the module's name says: a strategy file may lie elsewhere."""
    stem = path.relative_to(folder).with_suffix("").as_posix().partition(".")[0]
    expected = name.replace(".", "/")
    return stem in (expected, f"{expected}/__init__")


def _installed_origin(root: str) -> Origin:
    if root in _KNOWN:
        return Origin.LIBRARY
    names = _distributions(root)
    if not names:
        return Origin.USER  # a file that someone put there
    return Origin.LIBRARY if set(names) <= _dependencies() else Origin.INSTALLED


@cache
def _site_folders() -> tuple[Path, ...]:
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages()}
    folders |= {f for f in sys.path if f.endswith(("site-packages", "dist-packages"))}
    return tuple(sorted(Path(folder) for folder in folders))


@cache
def _standard_folders() -> tuple[Path, ...]:
    return tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")})


@cache
def _distributions(root: str) -> tuple[str, ...]:
    """Return the names of the distributions that installed a top-level package."""
    names = _metadata().packages_distributions().get(root, ())
    return tuple(sorted({_plain(name) for name in names}))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _dependencies() -> frozenset[str]:
    """Return this distribution and all that it needs, directly or not, without extras."""
    names: set[str] = set()
    waiting = [_OWN]
    while waiting:
        name = waiting.pop()
        if name in names:
            continue
        names.add(name)
        try:
            requirements = _metadata().requires(name) or []
        except _metadata().PackageNotFoundError:
            continue
        waiting += [
            _plain(re.split(r"[^A-Za-z0-9._-]", text.strip(), maxsplit=1)[0])
            for text in requirements
            if "extra ==" not in text
        ]
    return frozenset(names)


@cache
def _content(distribution: str) -> str:
    """Return a digest of the files of a distribution that can hold code or settings."""
    digest = hashlib.sha256()
    for file in sorted(_metadata().files(distribution) or (), key=str):
        path = Path(str(file.locate()))
        if path.suffix in _CODE and path.is_file():
            digest.update(f"{file}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
