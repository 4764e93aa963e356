"""What a strategy's functions need reaches a process that cannot import it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from streambt_spark import strategy_file

PROJECT = Path(__file__).parents[2]
FILES = {
    "strategy.py": """
        import sched
        import signals.deep
        from signals import rules
        from helpers import scaled

        def inside(x):
            from signals.late import bump
            from helpers import FACTOR
            return bump(x) * FACTOR

        def named(x):
            return signals.deep.twice(x) + sched.half(x)

        def method(x):
            return rules.Rule.apply(x) + scaled(x)

        def build(cerebro, bars):
            import helpers
            helpers.FACTOR = 3
            cerebro.extend([inside, named, method])
        """,
    "helpers.py": """
        import threading
        LOCK = threading.Lock()  # cannot be pickled
        FACTOR = 1

        def scaled(x):
            return x * FACTOR
        """,
    "sched.py": "def half(x):\n    return x / 2\n",
    "signals/__init__.py": "from . import deep\n",
    "signals/deep.py": """
        from .rules import Rule

        def twice(x):
            return Rule.apply(Rule.apply(x))
        """,
    "signals/rules.py": "class Rule:\n    @staticmethod\n    def apply(x):\n        return 2 * x\n",
    "signals/late.py": "from . import deep\n\ndef bump(x):\n    return deep.twice(x) + 1\n",
}
SEND = """
    import sys
    from streambt_spark import strategy_file
    from streambt_spark.core.identity import identity_of
    from streambt_spark.spark.shipping import Shipped
    from pyspark import cloudpickle

    strategy, functions = strategy_file.load(sys.argv[1]), []
    strategy.build(functions, None, {})
    for function in functions:
        identity_of(function)  # as a declaration does; it imports what is imported inside
    print(sorted(m.__name__ for m in strategy.modules))
    print([f(10) for f in functions])
    open(sys.argv[2], 'wb').write(cloudpickle.dumps(Shipped(functions, strategy.modules)))
    """
OPEN = """
    import pickle, sys
    import sched  # the standard library's
    print([f(10) for f in pickle.load(open(sys.argv[1], 'rb')).value])
    import helpers, signals.late
    print(helpers.FACTOR, signals.late.bump(1), helpers.__file__ == sys.argv[2])
    """


def run(script: str, *arguments: str, cwd: Path) -> list[str]:
    """Return the lines that a process prints that sees the project and nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_modules_and_packages_beside_a_strategy_are_sent_along(tmp_path: Path) -> None:
    """Imported above or inside a function, by name or relatively, one with a standard name too."""
    folder, away = tmp_path / "mine", tmp_path / "away"
    away.mkdir()
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    sent = str(tmp_path / "functions")
    names, here = run(SEND, str(folder / "strategy.py"), sent, cwd=tmp_path)
    assert names == str(
        ["helpers", "sched", "signals", "signals.deep", "signals.late", "signals.rules",
         "strategy_strategy"]
    )  # fmt: skip
    assert here == "[123, 45.0, 50]"
    there, state = run(OPEN, sent, str(folder / "helpers.py"), cwd=away)
    assert there == here
    assert state == "3 5 True"


def test_what_is_installed_is_not_sent(tmp_path: Path) -> None:
    """Beside a strategy in the project's own folder lies the project, which workers have."""
    path = tmp_path / "mine.py"
    path.write_text("import numpy, streambt_spark.cerebro\ndef build(cerebro, bars):\n    pass\n")
    assert [m.__name__ for m in strategy_file.load(str(path)).modules] == ["strategy_mine"]
    sys.path.remove(str(tmp_path))
