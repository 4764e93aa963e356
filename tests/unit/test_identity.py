"""Identity: all that a function can reach is in it, and what can change unseen is refused."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from pyspark import cloudpickle

from streambt_spark import Broker, Cerebro
from streambt_spark.allocation import FixedSize
from streambt_spark.core.identity import check_unchanged, identity_of
from streambt_spark.core.indicators.library import declare
from streambt_spark.errors import BadParameter

PROJECT = Path(__file__).parents[2]
ROWS = [
    {"symbol": "AAPL", "ts": f"2024-01-0{day}", "open": p, "high": p, "low": p, "close": p,
     "volume": 1}
    for day, p in enumerate((1, 2, 3), start=2)
]  # fmt: skip


def told(folder: Path, files: dict[str, str], python: str = sys.executable) -> str:
    """Return the identity of `f` in strategy.py, taken by a process of its own in a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    script = "import strategy, streambt_spark.core.identity as i; print(i.identity_of(strategy.f))"
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{PROJECT}", "PYTHONHASHSEED": "random"}
    done = subprocess.run(
        [python, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def opposite(tmp_path: Path, strategy: str, changed: str, before: str, after: str) -> None:
    """See that a change of one file, which the function reaches, changes its identity."""
    one, two, again = tmp_path / "one", tmp_path / "two", tmp_path / "again"
    helpers = {changed: before}
    base = told(one, {"strategy.py": strategy, **helpers})
    assert told(again, {"strategy.py": strategy, **helpers}) == base
    assert told(two, {"strategy.py": strategy, changed: after}) != base


REACHING = {
    "an import inside": "def f(x):\n    from helpers import g\n    return g(x)\n",
    "an import inside, as a module": "def f(x):\n    import helpers\n    return helpers.g(x)\n",
    "an import inside a nested function": (
        "def f(x):\n    def inner():\n        from helpers import g\n        return g\n"
        "    return inner()(x)\n"
    ),
    "getattr": "import helpers\ndef f(x):\n    return getattr(helpers, 'g')(x)\n",
    "another name": "import helpers\ndef f(x):\n    h = helpers\n    return h.g(x)\n",
    "vars": "import helpers\ndef f(x):\n    return vars(helpers)['g'](x)\n",
    "a closure": (
        "def make():\n    import helpers as h\n    def f(x):\n        return h.g(x)\n    return f\n"
        "f = make()\n"
    ),
    "a default": "import helpers\ndef f(x, h=helpers):\n    return h.g(x)\n",
    "a keyword default": "from helpers import g\ndef f(x, *, h=g):\n    return h(x)\n",
    "an attribute": "from helpers import g\ndef f(x):\n    return f.g(x)\nf.g = g\n",
    "a partial": (
        "import functools\nfrom helpers import g\n"
        "def h(k, x):\n    return k(x)\nf = functools.partial(h, g)\n"
    ),
    "a decorator": (
        "import functools\nfrom helpers import g\n"
        "def twice(k):\n    @functools.wraps(k)\n    def w(x):\n        return k(k(x))\n"
        "    return w\nf = twice(g)\n"
    ),
    "a cached helper": (
        "import functools\nfrom helpers import g\nh = functools.lru_cache(g)\n"
        "def f(x):\n    return h(x)\n"
    ),
    "a class": (
        "from helpers import g\nclass K:\n    @staticmethod\n    def run(x):\n        return g(x)\n"
        "def f(x):\n    return K.run(x)\n"
    ),
    "a class method": (
        "from helpers import g\nclass K:\n    @classmethod\n    def run(cls, x):\n"
        "        return g(x)\nf = K.run\n"
    ),
    "a base class": (
        "import helpers\nclass K(helpers.Base):\n    pass\ndef f(x):\n    return K.run(x)\n"
    ),
    "numba": (
        "import numba\nfrom helpers import g\nh = numba.njit(g)\n"
        "@numba.njit\ndef f(x):\n    return h(x)\n"
    ),
    "numba's vectorize": (
        "import numba\nimport helpers\nh = numba.vectorize(['f8(f8)'])(helpers.scalar)\n"
        "def f(x):\n    return h(x)\n"
    ),
    "np.vectorize": (
        "import numpy as np\nfrom helpers import g\nh = np.vectorize(g)\n"
        "def f(x):\n    return h(x)\n"
    ),
}
HELPERS = """
class Base:
    @staticmethod
    def run(x):
        return {sign}x

def scalar(x):
    return {sign}x

def g(x):
    return {sign}x
"""


@pytest.mark.parametrize("way", REACHING)
def test_a_helper_counts_however_it_is_reached(way: str, tmp_path: Path) -> None:
    """Two opposite helpers make two functions, the same in other processes and folders is one."""
    before, after = HELPERS.format(sign=""), HELPERS.format(sign="-")
    opposite(tmp_path, REACHING[way], "helpers.py", before, after)


def test_a_module_named_like_one_of_the_standard_library_counts(tmp_path: Path) -> None:
    """A user's own profile.py is his."""
    strategy = "import profile\ndef f(x):\n    return profile.g(x)\n"
    before, after = HELPERS.format(sign=""), HELPERS.format(sign="-")
    opposite(tmp_path, strategy, "profile.py", before, after)


def test_a_package_beside_the_strategy_counts(tmp_path: Path) -> None:
    """Its submodules too, by attribute, by relative import and by an import inside."""
    strategy = "import signals\ndef f(x):\n    return signals.deep.inner.g(x)\n"
    files = {
        "signals/__init__.py": "from . import deep\n",
        "signals/deep/__init__.py": "from . import inner\n",
        "signals/deep/inner.py": (
            "def g(x):\n    from ..other import h\n    return h(x)\n"
        ),
        "signals/other.py": "def h(x):\n    return x\n",
    }  # fmt: skip
    one = told(tmp_path / "one", {"strategy.py": strategy, **files})
    files["signals/other.py"] = "def h(x):\n    return -x\n"
    assert told(tmp_path / "two", {"strategy.py": strategy, **files}) != one


def test_an_installed_package_counts_by_its_content(tmp_path: Path) -> None:
    """A user's package in site-packages, with metadata and without: editing it is a change."""
    site = tmp_path / "site-packages"
    files = {
        "strategy.py": "from mypack.rules import g\ndef f(x):\n    return g(x)\n",
        "site-packages/mypack/__init__.py": "",
        "site-packages/mypack/rules.py": HELPERS.format(sign=""),
        "site-packages/mypack-1.0.dist-info/METADATA": "Name: mypack\nVersion: 1.0\n",
        "site-packages/mypack-1.0.dist-info/RECORD": (
            "mypack/__init__.py,,\nmypack/rules.py,,\nmypack-1.0.dist-info/METADATA,,\n"
        ),
        "site-packages/mypack-1.0.dist-info/top_level.txt": "mypack\n",
        "sitecustomize.py": f"import sys\nsys.path.append({str(site)!r})\n",
    }
    one = told(tmp_path, files)
    assert "mypack 1.0 " in one
    files["site-packages/mypack/rules.py"] = HELPERS.format(sign="-")
    two = told(tmp_path, files)
    assert two != one
    for name in ("METADATA", "RECORD", "top_level.txt"):
        (site / "mypack-1.0.dist-info" / name).unlink()
        files.pop(f"site-packages/mypack-1.0.dist-info/{name}")
    (site / "mypack-1.0.dist-info").rmdir()
    bare = told(tmp_path, files)
    assert "mypack 1.0 " not in bare
    assert "UnaryOp" in bare


def test_a_comment_does_not_count(tmp_path: Path) -> None:
    """Nor do blank lines, quotes and docstrings: what runs is the same."""
    one = told(tmp_path / "a", {"strategy.py": 'def f(x):\n    return x if "a" else -x\n'})
    text = "# new\n\ndef f(x):\n    '''Say.'''\n    # why\n    return (x if 'a'\n        else -x)\n"
    assert told(tmp_path / "b", {"strategy.py": text}) == one


def test_the_code_is_told_alike_by_other_versions_of_python(tmp_path: Path) -> None:
    """Lambdas too: the text comes from the source, not from the bytecode."""
    other = "3.12" if sys.version_info[:2] == (3, 11) else "3.11"
    installed = Path(sys.base_prefix).parent.glob(f"{other}*/bin/python{other}")
    python = next(map(str, installed), shutil.which(f"python{other}"))
    if python is None:
        pytest.skip(f"there is no Python {other}")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(PROJECT / 'streambt_spark' / 'core' / 'code')!r})\n"
        "import source\n"
        "pair = (lambda x: x + 1, lambda x: f'{x!r:>{3}}' + [y for y in x][0])\n"
        "def f(x, n: int = 3):\n    match x:\n        case [1, *rest]:\n            return rest\n"
        "    return {**{'a': n}}, {i for i in x}, (yield)\n"
        "print(*map(source.code_text, (*pair, f)), sep='\\n')\n"
    )
    texts = {
        subprocess.run([p, script], capture_output=True, text=True, check=True).stdout
        for p in (sys.executable, python)
    }
    assert len(texts) == 1
    assert "bytecode" not in texts.pop()


def test_a_file_edited_after_it_was_loaded_is_not_taken_for_the_code(tmp_path: Path) -> None:
    """What runs is told, here by its bytecode, and the file's new text is not."""
    script = (
        "import pathlib, sys; sys.path.insert(0, '.'); import mine; before = mine.f\n"
        "pathlib.Path('mine.py').write_text('def f(x):\\n    return -x\\n')\n"
        "from streambt_spark.core.identity import identity_of\n"
        "print(identity_of(before))\n"
    )
    (tmp_path / "mine.py").write_text("def f(x):\n    return x\n")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert "bytecode" in done.stdout
    assert "USub" not in done.stdout


# --- values ---------------------------------------------------------------------------------------


class Side(Enum):
    """Which way, with a rule of its own."""

    LONG = 1

    def weight(self) -> int:
        """Return the weight."""
        return 2


class Point(NamedTuple):
    """Two numbers."""

    x: int
    y: int


@dataclasses.dataclass(frozen=True)
class Rule:
    """What cannot change."""

    level: int
    name: str = "rule"


@dataclasses.dataclass
class Loose:
    """What can."""

    level: int

    def times(self, x: np.ndarray) -> Any:
        """Multiply."""
        return self.level * x


def capturing(value: Any) -> Callable[[np.ndarray], Any]:
    """Return a function that reaches a value."""

    def f(x: np.ndarray) -> Any:
        return x, value

    return f


KEPT = (
    1, 1.0, True, None, "1", b"1", (1, 2), (1, (2,)), frozenset({1, 2}), Side.LONG, Point(1, 2),
    Rule(1), Rule(2), MappingProxyType({"a": 1}), range(3), slice(1, 2), np.float64(2.5), np.log,
    len, Side, Rule, functools.partial(abs), np, (Rule(1), Side.LONG),
)  # fmt: skip


def test_what_cannot_change_is_told() -> None:
    """Each value is another function; the same again is the same."""
    texts = [identity_of(capturing(value)) for value in KEPT]
    assert len(set(texts)) == len(texts)
    assert texts == [identity_of(capturing(value)) for value in KEPT]
    assert all("0x" not in text for text in texts)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([1], r"uses 'value' from outside, which is a list and can change unseen; write it as a t"),
        ({"a": 1}, "a dict and can change unseen; wrap it as types.MappingProxyType"),
        ({1}, "a set and can change unseen; write it as a frozenset"),
        (np.ones(2), "a ndarray and can change unseen; write it as a tuple, or make it inside"),
        (bytearray(b"1"), "a bytearray and can change unseen"),
        ((1, [2]), r"uses '1' from outside, which is a list"),
        (Loose(1), "a Loose: an object with state or without a stable text; pass it to the func"),
        (SimpleNamespace(a=1), "a SimpleNamespace: an object with state"),
        (np.random.default_rng(1), "a Generator: an object with state"),
        (iter((1, 2)), "a tuple_iterator: an object with state"),
        (np.ones(2).sum, "uses '__self__' from outside, which is a ndarray"),
        (functools.partial(max, [1]), "uses 'argument 0' from outside, which is a list"),
        (MappingProxyType({"a": [1]}), "from outside, which is a list"),
    ],
)
def test_what_can_change_unseen_is_refused(value: Any, says: str) -> None:
    """State would hide in it: the function, the name, and what to write instead."""
    with pytest.raises(BadParameter, match=says) as caught:
        identity_of(capturing(value))
    assert "\n" not in str(caught.value)


def remembering(x: np.ndarray, seen: list[float] = []) -> Any:  # noqa: B006 - the point of it
    """Keep what it has seen in a default."""
    seen.append(x[-1])
    return x


COUNT = 0


def counting(x: np.ndarray) -> Any:
    """Keep a count in its module."""
    global COUNT
    COUNT += 1
    return x * COUNT


def counter() -> Callable[[np.ndarray], Any]:
    """Return a function that keeps a count in a closure."""
    count = 0

    def f(x: np.ndarray) -> Any:
        nonlocal count
        count += 1
        return x * count

    return f


def labelled(x: np.ndarray) -> Any:
    """Keep what it has seen in an attribute."""
    return x * len(labelled.seen)  # type: ignore[attr-defined]


labelled.seen = []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("func", "says"),
    [
        (remembering, "remembering uses 'seen' from outside, which is a list"),
        (counting, "counting writes to 'COUNT' outside of it, so it has a state of its own"),
        (counter(), "writes to 'count' outside of it"),
        (labelled, "labelled uses 'attribute seen' from outside, which is a list"),
        (lambda x: eval("x + 1"), "uses eval, which hides the code"),  # noqa: S307
        (lambda x: __import__("math").sqrt(2) * x, "uses __import__, which hides"),
        (lambda x: sys.modules["math"].pi * x, r"uses sys\.modules, which hides"),
        (Loose(1).times, "uses '__self__' from outside, which is a Loose"),
    ],
)
def test_state_and_hidden_code_are_refused(func: Callable[..., Any], says: str) -> None:
    """A function depends on its columns and parameters alone."""
    with pytest.raises(BadParameter, match=says):
        identity_of(func)


def test_attributes_tell_functions_apart() -> None:
    """Two opposite functions that differ in an attribute alone are two lanes."""

    def make(side: str) -> Callable[..., Any]:
        def f(x: np.ndarray) -> Any:
            return x

        f.side = side  # type: ignore[attr-defined]
        return f

    assert identity_of(make("long")) != identity_of(make("short"))
    assert identity_of(make("long")) == identity_of(make("long"))


def test_what_a_library_offers_goes_by_its_name() -> None:
    """Functions, classes and objects, such as a distribution of SciPy, with its version."""
    stats = pytest.importorskip("scipy.stats")
    norm = stats.norm

    def f(x: np.ndarray) -> Any:
        return norm.cdf(x)

    assert "norm = object scipy.stats.norm of scipy " in identity_of(f)
    random = np.random.rand

    def g(x: np.ndarray) -> Any:
        return random(len(x))

    with pytest.raises(BadParameter, match="RandomState: an object with state"):
        identity_of(g)


def test_options_of_numba_count() -> None:
    """Compiled with fastmath it rounds otherwise."""

    def f(x: np.ndarray) -> Any:
        return x / 3

    assert identity_of(numba.njit(f)) != identity_of(numba.njit(fastmath=True)(f))


# --- taken again ------------------------------------------------------------------------------


def made() -> tuple[Cerebro, Any]:
    """Return a Cerebro with bars, and their handle."""
    cerebro = Cerebro(Broker(cash=100))
    return cerebro, cerebro.add_data(ROWS, tz="UTC")


def test_a_loop_variable_captured_late_is_refused() -> None:
    """All functions of a loop see its last value: two identities, one computation."""
    cerebro, bars = made()
    for n in (5, 10):
        pulse = cerebro.add_indicator(lambda x: x * 0 + n, bars["close"])  # noqa: B023
        cerebro.add_strat(pulse, FixedSize(1))
    says = r"<lambda>: 'n' has changed since .* declared, from 5 to 10; .*\(def f\(x, n=n\)\)"
    with pytest.raises(BadParameter, match=says):
        cerebro.run()
    cerebro, bars = made()
    for n in (5, 10):
        pulse = cerebro.add_indicator(lambda x, n=n: x * 0 + n, bars["close"])
        cerebro.add_strat(pulse, FixedSize(1))
    assert len(cerebro.run().plan.lanes) == 2


def test_an_allocation_that_changed_is_refused() -> None:
    """The same holds for what sizes the orders."""
    cerebro, bars = made()
    share = 1

    def allocate(strength: Any, portfolio: object, bars: object) -> Any:
        return dict.fromkeys(strength, share)

    cerebro.add_strat(bars["close"], allocate)
    share = 2
    with pytest.raises(BadParameter, match=r"allocate: 'share' has changed .* from 1 to 2"):
        cerebro.plan()


LEVEL = 1


def test_a_constant_changed_later_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the module or of a helper."""

    def helper(x: np.ndarray) -> Any:
        return x * LEVEL

    def f(x: np.ndarray) -> Any:
        return helper(x)

    before = identity_of(f)
    check_unchanged(f, before)
    monkeypatch.setitem(globals(), "LEVEL", 2)
    with pytest.raises(BadParameter, match=r"f: 'LEVEL' has changed since .*, from 1 to 2"):
        check_unchanged(f, before)


def lagged(close: np.ndarray, n: int = 1, *, k: float = 2.0) -> Any:
    """Return an earlier row's value."""
    return np.append(np.full(min(n, len(close)), np.nan), close[:-n]) * k


class Scaled:
    """Multiplies by a constant."""

    scale = 3

    @classmethod
    def run(cls, close: np.ndarray) -> Any:
        """Multiply."""
        return close * cls.scale


def test_partials_and_class_methods_are_functions_too() -> None:
    """Bound, told apart, pickled and evaluated as others are."""
    two, three = (declare(functools.partial(lagged, n=n), {}) for n in (2, 3))
    assert (two.name, two.inputs) == ("partial lagged", ("close",))
    assert two.params == (("k", 2.0), ("n", 2))
    assert two != three
    scaled = declare(Scaled.run, {})
    assert scaled.name == "Scaled.run"
    column = np.arange(4.0)
    for function, values in ((two, [np.nan, np.nan, 0.0, 2.0]), (scaled, [0.0, 3.0, 6.0, 9.0])):
        copy = cloudpickle.loads(cloudpickle.dumps(function))
        assert copy == function
        assert np.array_equal(copy.evaluate([column])[0], values, equal_nan=True)
