"""The environments of the peers: made in the cache once, with exact versions."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PINNED = {
    "backtrader": ("backtrader==1.9.78.123", "numpy==2.4.6", "pandas==2.3.3", "pyarrow==26.0.1"),
    "raptorbt": ("raptorbt==0.13.4", "numpy==2.4.6", "pandas==3.1.1", "pyarrow==26.0.1"),
    "vectorbt-1.0": (
        "vectorbt==1.0.0",
        "vectorbt-rust==1.0.0",
        "numba==0.68.1",
        "numpy==2.4.6",
        "pandas==2.3.3",
        "plotly==5.24.1",
        "pyarrow==26.0.1",
    ),
    "vectorbt-1.2": (
        "vectorbt==1.2.0",
        "vectorbt-rust==1.2.0",
        "numba==0.68.1",
        "numpy==2.4.6",
        "pandas==3.1.1",
        "plotly==7.1.0",
        "pyarrow==26.0.1",
    ),
}
"""The packages of each peer; its program reads Parquet, so pandas and pyarrow are among them."""


def peer_python(peer: str, cache: Path) -> Path:
    """Return the interpreter of a peer's environment, which is made where it is missing.

    Raises subprocess.CalledProcessError where the packages cannot be had.
    """
    home = cache / peer
    python, stamp = home / "bin" / "python", home / "installed"
    pins = "\n".join(PINNED[peer])
    if not (stamp.is_file() and stamp.read_text() == pins):
        _create(home, python, PINNED[peer])
        stamp.write_text(pins)
    return python


def _create(home: Path, python: Path, packages: Sequence[str]) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, home)
        _run(uv, "pip", "install", "--quiet", "--python", python, *packages)
    else:
        _run(sys.executable, "-m", "venv", "--clear", home)
        _run(python, "-m", "pip", "install", "--quiet", *packages)


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)
