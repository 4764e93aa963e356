"""What a result was measured on: enough to compare, nothing that tells whose machine it was."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.environments import PINNED
from streambt_spark.spark.java import java_version

_PACKAGES = ("streambt-spark", "pyspark", "delta-spark", "numpy", "numba", "TA-Lib", "pyarrow")


def describe() -> dict[str, Any]:
    """Return cores, memory and versions."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "java": java_version().version,
        "packages": {name: version(name) for name in _PACKAGES},
        "peers": {peer: list(pinned) for peer, pinned in PINNED.items()},
    }


def busy() -> float:
    """Return how many processes wanted a core in the last minute, on average."""
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
