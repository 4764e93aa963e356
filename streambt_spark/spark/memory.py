"""Memory that a Python worker no longer uses, given back to the system.

A worker lives as long as the job and takes turns at its tasks, so what each of them once needed
would stay with every worker.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def _trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


_malloc_trim = _trim()


def release_unused() -> None:
    """Give freed memory back; does nothing where the C library is not glibc.

    glibc itself gives back only what is free at the end of its heap.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)
