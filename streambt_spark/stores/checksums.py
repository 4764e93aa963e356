"""The checksums that Hadoop keeps beside the local files it writes: `.NAME.crc` for NAME.

Spark's checkpoint and the tables it writes have them, so a file that was cut or has a changed byte
is found before it is used. S3 keeps its own, and shows a file only when it is whole.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

_MAGIC = b"crc\0"


def intact(path: Path) -> bool:
    """Return whether a file has the bytes it was written with; True where nothing tells."""
    sums = sidecar(path)
    if not sums.is_file():
        return True
    told = sums.read_bytes()
    if told[:4] != _MAGIC or len(told) < 8:
        return True
    (size,) = struct.unpack(">i", told[4:8])
    if size <= 0 or len(told) % 4:
        return True
    content = memoryview(path.read_bytes())
    found = [zlib.crc32(content[i : i + size]) for i in range(0, len(content), size)]
    return found == list(struct.unpack(f">{len(told) // 4 - 2}I", told[8:]))


def sidecar(path: Path) -> Path:
    """Return where a file's checksums are."""
    return path.with_name(f".{path.name}.crc")


def discard(path: Path) -> None:
    """Delete a file and its checksums."""
    path.unlink(missing_ok=True)
    sidecar(path).unlink(missing_ok=True)
