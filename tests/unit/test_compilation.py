"""Kernels that are compiled beforehand are those that a run needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
import numpy as np
from numba.core.dispatcher import Dispatcher
from streambt_spark import Cerebro
from streambt_spark.allocation import FixedSize
from streambt_spark.core.compilation import compile_kernels
from streambt_spark.stores.generator import generate

def kernels():
    return {
        f"{kernel.__module__}.{kernel.__name__}": len(kernel.signatures)
        for name, module in sorted(sys.modules.items())
        if name.startswith("streambt_spark.core.")
        for kernel in vars(module).values()
        if isinstance(kernel, Dispatcher)
    }

compile_kernels()
before = kernels()
cerebro = Cerebro()
bars = cerebro.add_data(generate(3, 700, seed=1), interval="1d")
fast = cerebro.add_indicator("SMA", bars["close"], timeperiod=5)
own = cerebro.add_indicator(lambda fast, close: np.diff(fast - close, prepend=np.nan),
                            fast, bars["close"])
for size, record in enumerate(("full", "equity", "metrics"), 1):
    cerebro.add_strat(own, FixedSize(size), record=record)
result = cerebro.run("local")
len(result.ledger)
print(sorted(name for name, count in kernels().items() if count > before.get(name, 0)))
"""


def test_a_run_finds_its_kernels_compiled(tmp_path: Path) -> None:
    """Whatever a worker runs, its functions, its lanes and what these record, is there before."""
    script = tmp_path / "run.py"
    script.write_text(CODE)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
