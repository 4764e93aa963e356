"""Memory that is given back."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from streambt_spark.spark.memory import release_unused

MEGABYTE = 1 << 20


def resident() -> int:
    """Return the bytes of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked")
def test_freed_blocks_below_one_in_use_are_given_back() -> None:
    """Blocks of 100 kB stay in the heap when they are freed, as long as one lies above them."""
    blocks = [bytearray(b"1" * 100_000) for _ in range(1_000)]
    above = blocks.pop()
    full = resident()
    del blocks
    release_unused()
    assert full - resident() > 80 * MEGABYTE
    assert len(above) == 100_000
