"""Running the command line as a user does: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

STREAMBT = str(Path(sys.executable).parent / "streambt")


def run_streambt(*words: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `streambt` with these words and return what came of it."""
    return subprocess.run(
        [STREAMBT, *words], capture_output=True, text=True, timeout=seconds, check=False
    )
