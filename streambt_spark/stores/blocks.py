"""Files cut into blocks with a SHA-256 each, so that any part of a file is verified as it is read.

The digests of the blocks stand inside the file, in the part that is written last (Parquet's
footer), and the digest of that part in the commit: one digest a file binds each of its bytes. So a
reader hashes what it reads and nothing else, be it one column, a minute of bars, or a range of an
object on S3; and as bytes are handed on only when they were verified, nothing that reads a file
through here has to know of it.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from streambt_spark.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

BLOCK_BYTES = 65_536
"""A block is small beside a column of a row group: reading one column hashes little more."""

_DIGEST_BYTES = 32
_THREADS = 2
_AHEAD = 4
"""Ranges that are fetched and hashed while the one before them is decoded."""


def not_as_exported(name: str, fault: str) -> DataError:
    """Return the error for a data file that is not as it was written."""
    return DataError(
        f"{name} is not the file that was exported: {fault}; restore it from a copy, or export the "
        "bars again"
    )


class BlockSink:
    """Passes what is written on to a file and hashes it: the body by blocks, then the tail whole.

    It has what PyArrow wants of a Python file.
    """

    closed = False

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self._digests: list[bytes] = []
        self._hash, self._room = hashlib.sha256(), BLOCK_BYTES
        self.size = 0
        self.body = 0

    def write(self, data: bytes | memoryview) -> int:
        """Write and hash the next bytes."""
        view = memoryview(data).cast("B")
        self._file.write(view)
        self.size += len(view)
        while not self.body and len(view) >= self._room:
            self._hash.update(view[: self._room])
            view = view[self._room :]
            self._next_block()
        self._hash.update(view)
        self._room -= len(view)
        return len(data)

    def end_body(self) -> str:
        """Return the digests of the blocks as text; what is written from here on is the tail."""
        self.body = self.size
        self._next_block()
        return b64encode(b"".join(self._digests)).decode()

    def digest(self) -> str:
        """Return the SHA-256 of the tail, in hexadecimal."""
        return self._hash.hexdigest()

    def flush(self) -> None:
        """Do nothing: the file is closed when all is written."""

    def close(self) -> None:
        """Do nothing: who opened the file closes it."""

    def _next_block(self) -> None:
        self._digests.append(self._hash.digest())
        self._hash, self._room = hashlib.sha256(), BLOCK_BYTES


class BlockSource:
    """Serves ranges of a file's body whose blocks have the digests that `table` tells.

    `ranges` (first and last + 1 byte, ascending) are what will be read, in this order: the next
    ones are fetched and hashed by other threads while one is decoded. It has what PyArrow wants of
    a Python file. Raises DataError for a block that differs.
    """

    closed = False

    def __init__(
        self,
        file: pa.NativeFile,
        name: str,
        table: str | bytes,
        body: int,
        ranges: Sequence[tuple[int, int]],
    ) -> None:
        self._file, self._name, self._body = file, name, body
        self._digests = b64decode(table)
        self._blocks = _whole_blocks(ranges)
        self._starts = [first * BLOCK_BYTES for first, _ in self._blocks]
        self._at = 0
        self._pool = ThreadPoolExecutor(_THREADS) if len(self._blocks) > 1 else None
        self._fetched: deque[tuple[int, Future[memoryview]]] = deque()
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def read(self, size: int) -> bytes | memoryview:
        """Return the next bytes, all of them verified."""
        parts, left = [], size
        while left > 0:
            at = bisect_right(self._starts, self._at) - 1
            content = self._range(at)
            first = self._at - self._starts[at]
            part = content[first : first + left]
            assert len(part), "only what was announced can be read"
            parts.append(part)
            self._at += len(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a byte, counted from the start, from here or from the end of the body."""
        self._at = (0, self._at, self._body)[whence] + offset
        return self._at

    def tell(self) -> int:
        """Return the byte that is read next."""
        return self._at

    def size(self) -> int:
        """Return the size of the body."""
        return self._body

    def close(self) -> None:
        """Do nothing: who opened the file closes it."""

    def _range(self, at: int) -> memoryview:
        """Return a range, and have the next ones fetched; those before the last one are let go."""
        while self._next < min(at + _AHEAD, len(self._blocks)):
            self._fetched.append((self._next, self._fetch(self._next)))
            self._next += 1
        while self._fetched[0][0] < at - 1:
            self._fetched.popleft()
        return next(future for number, future in self._fetched if number == at).result()

    def _fetch(self, at: int) -> Future[memoryview]:
        if self._pool is not None:
            return self._pool.submit(self._verified, *self._blocks[at])
        done: Future[memoryview] = Future()
        done.set_result(self._verified(*self._blocks[at]))
        return done

    def _verified(self, first: int, last: int) -> memoryview:
        start, end = first * BLOCK_BYTES, min(last * BLOCK_BYTES, self._body)
        content = memoryview(self._file.read_at(end - start, start))
        for block in range(first, last):
            offset = block * BLOCK_BYTES - start
            expected = self._digests[block * _DIGEST_BYTES : (block + 1) * _DIGEST_BYTES]
            if hashlib.sha256(content[offset : offset + BLOCK_BYTES]).digest() != expected:
                begin = block * BLOCK_BYTES
                until = min(begin + BLOCK_BYTES, self._body)
                raise not_as_exported(self._name, f"bytes {begin:,} to {until:,} differ")
        return content


def _whole_blocks(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the blocks (first and last + 1) that cover each range, none of them twice."""
    blocks, free = [], 0
    for start, end in ranges:
        first, last = max(start // BLOCK_BYTES, free), -(-end // BLOCK_BYTES)
        if first < last:
            blocks.append((first, last))
            free = last
    return blocks
