"""Whether a disk is full, which the libraries that write to it tell in many ways."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
_WORDS = ("No space left on device", "Disk quota exceeded")


def is_full(error: BaseException | str) -> bool:
    """Whether an error, or the text of one, says that a disk has no room."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(word in str(error) for word in _WORDS)


def free_space(folder: Path) -> str:
    """Return how much room the disk of a folder has, as text; the folder may be missing."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return f"{shutil.disk_usage(existing).free // 1024:,} kB free"
