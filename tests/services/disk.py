"""A small disk that a test can fill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'


def on_a_small_disk(
    folder: Path, size: str, code: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process that sees a disk of its own of `size` at `folder`.

    The disk is memory, in a name space of that process, and gone with it; skips where the system
    allows none.
    """
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system allows no mounts of one's own")
    return subprocess.run(
        [
            *alone,
            "sh",
            "-c",
            _MOUNT,
            "disk",
            size,
            str(folder),
            sys.executable,
            "-c",
            code,
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
