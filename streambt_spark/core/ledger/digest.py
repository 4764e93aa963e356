"""The canonical form of a ledger and its digest.

Events in the order of (lane, ts, seq), each as

- the mask of its fields that are not null, 8 bytes, bit n for the field of number n;
- their values by ascending number: a number as 8 bytes, little endian (int64 or the bits of a
  float64), a word as the count of its bytes, 4 bytes, and its UTF-8.

The form can be read back, so two ledgers have the same bytes only if they hold the same events. The
digest is SHA-256 over all of it. How a code stands for its word, and how wide a record holds a
number, leave no trace in it.

It is made column by column: each one writes its values to where the events' bytes have come to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from streambt_spark.core.ledger.fields import REGISTRY, Field, Registry, Words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streambt_spark.core.ledger.events import Events

Vocabulary = Mapping[str, Words]

EVENTS_AT_ONCE = 32_768
"""Events encoded before they are hashed: few enough for their bytes to stay in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A field's numbers as the bits of int64 or float64, and where they are null."""

    bits: NDArray[np.int64]
    null: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """A field's words: each one's place and size in `data`, UTF-8; size -1 for null."""

    start: NDArray[np.int64]
    size: NDArray[np.int64]
    data: NDArray[np.uint8]


Columns = Sequence[tuple[int, Numbers | Texts]]
"""The columns of some events by the numbers of their fields, ascending."""


def digest(events: Events, vocabulary: Vocabulary) -> str:
    """Return the digest of events that are in canonical order, in hexadecimal."""
    return digest_of_parts(columns_of(events, vocabulary))


def digest_of_parts(parts: Iterable[Columns]) -> str:
    """Return the digest of the events of all parts, in their order."""
    sha = hashlib.sha256()
    for columns in parts:
        sha.update(canonical_bytes(columns)[0].data)
    return sha.hexdigest()


def columns_of(
    events: Events, vocabulary: Vocabulary, registry: Registry = REGISTRY
) -> Iterator[Columns]:
    """Yield events as columns, EVENTS_AT_ONCE at a time."""
    words = {**vocabulary, "text": Words((None, *events.texts), -1)}
    tables = {name: (_table(known), known.first) for name, known in words.items()}
    for start in range(0, len(events), EVENTS_AT_ONCE):
        part = events.records[start : start + EVENTS_AT_ONCE]
        yield [(f.number, _column(part[f.name], f, tables)) for f in registry.fields]


def canonical_bytes(columns: Columns) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the canonical bytes of some events, and where those of each event begin."""
    size = np.full(_count(columns), 8, np.int64)
    for _, column in columns:
        if isinstance(column, Numbers):
            _measure_numbers(column.null, size)
        else:
            _measure_texts(column.size, size)
    starts = np.cumsum(size) - size
    out = np.empty(int(size.sum()), np.uint8)
    at, mask = starts + 8, np.zeros(len(size), np.int64)
    for number, column in columns:
        if isinstance(column, Numbers):
            _put_numbers(column.bits, column.null, at, out, mask, 1 << number)
        else:
            _put_texts(column.start, column.size, column.data, at, out, mask, 1 << number)
    _put_masks(mask, starts, out)
    return out, starts


def _count(columns: Columns) -> int:
    first = columns[0][1]
    return len(first.null if isinstance(first, Numbers) else first.size)


def _table(words: Words) -> Texts:
    """Return a vocabulary's words, by code less the first one."""
    encoded = [b"" if text is None else text.encode() for text in words.texts]
    length = np.array([len(word) for word in encoded], np.int64)
    null = np.array([text is None for text in words.texts], bool)
    data = np.frombuffer(b"".join(encoded), np.uint8)
    return Texts(np.cumsum(length) - length, np.where(null, -1, length), data)


def _column(
    values: NDArray[Any], field: Field, words: Mapping[str, tuple[Texts, int]]
) -> Numbers | Texts:
    if field.words is None:
        return Numbers(np.ascontiguousarray(values).view(np.int64), field.nulls(values))
    table, first = words[field.words]
    code = values.astype(np.intp) - first
    return Texts(table.start[code], table.size[code], table.data)


@njit(cache=True, nogil=True)
def spans(offsets, null):  # type: ignore[no-untyped-def]
    """Return where words begin and their sizes, of the offsets between them."""
    start, size = np.empty(len(null), np.int64), np.empty(len(null), np.int64)
    for n in range(len(null)):
        start[n] = offsets[n]
        size[n] = -1 if null[n] else offsets[n + 1] - offsets[n]
    return start, size


@njit(cache=True, nogil=True)
def _measure_numbers(null, size):  # type: ignore[no-untyped-def]
    for n in range(len(null)):
        size[n] += 0 if null[n] else 8


@njit(cache=True, nogil=True)
def _measure_texts(length, size):  # type: ignore[no-untyped-def]
    for n in range(len(length)):
        size[n] += 0 if length[n] < 0 else 4 + length[n]


@njit(cache=True, nogil=True)
def _put_numbers(bits, null, at, out, mask, bit):  # type: ignore[no-untyped-def]
    for n in range(len(bits)):
        if not null[n]:
            _put_8(out, at[n], bits[n])
            at[n] += 8
            mask[n] |= bit


@njit(cache=True, nogil=True)
def _put_texts(start, length, data, at, out, mask, bit):  # type: ignore[no-untyped-def]
    for n in range(len(length)):
        if length[n] >= 0:
            to, source = np.uint64(at[n]), np.uint64(start[n])
            for k in range(4):
                out[to + np.uint64(k)] = (length[n] >> (8 * k)) & 0xFF
            to += np.uint64(4)
            for k in range(np.uint64(length[n])):
                out[to + k] = data[source + k]
            at[n] += 4 + length[n]
            mask[n] |= bit


@njit(cache=True, nogil=True)
def _put_masks(mask, starts, out):  # type: ignore[no-untyped-def]
    for n in range(len(mask)):
        _put_8(out, starts[n], mask[n])


@njit(cache=True, inline="always")
def _put_8(out, at, value):  # type: ignore[no-untyped-def]
    """Write 8 bytes, the lowest first; unrolled, they become one store."""
    to, bits, byte = np.uint64(at), np.uint64(value), np.uint64(0xFF)
    out[to] = bits & byte
    out[to + np.uint64(1)] = (bits >> np.uint64(8)) & byte
    out[to + np.uint64(2)] = (bits >> np.uint64(16)) & byte
    out[to + np.uint64(3)] = (bits >> np.uint64(24)) & byte
    out[to + np.uint64(4)] = (bits >> np.uint64(32)) & byte
    out[to + np.uint64(5)] = (bits >> np.uint64(40)) & byte
    out[to + np.uint64(6)] = (bits >> np.uint64(48)) & byte
    out[to + np.uint64(7)] = (bits >> np.uint64(56)) & byte
