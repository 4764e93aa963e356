"""The state codec: a block as versioned bytes with a checksum, and back.

Layout: magic 'SBT', version (1 byte), CRC-32 of the rest (4 bytes, big endian), msgpack. It frames
the states of the three folds, each of which is plain values and arrays by name. Nothing in it is
executable: an array is its dtype, one of a fixed set, its shape and its bytes.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from streambt_spark.core.block import Block
from streambt_spark.core.broker.trade import decode_books, encode_books
from streambt_spark.core.indicators.features import decode_features, encode_features
from streambt_spark.core.market.slices import decode_buffer, encode_buffer
from streambt_spark.errors import StateError

if TYPE_CHECKING:
    from streambt_spark.core.plan import Program

VERSION = 2
_HEADER = struct.Struct(">3sBI")
_MAGIC = b"SBT"
_ARRAY = 1
"""The code of msgpack's extension for arrays."""

_DTYPES = frozenset({"<i8", "<i4", "|i1", "<f8", "|b1"})


def encode(block: Block, program: Program) -> bytes:
    """Return the block as bytes that only the program of the same plan can decode."""
    body = {
        "plan": program.identity,
        "audited": block.audited,
        "align": encode_buffer(block.buffer),
        "compute": encode_features(block.features),
        "trade": encode_books(block.books),
    }
    payload: bytes = msgpack.packb(body, default=_pack)
    return _HEADER.pack(_MAGIC, VERSION, zlib.crc32(payload)) + payload


def decode(data: bytes, program: Program) -> Block:
    """Return the block that `encode` wrote.

    Raises StateError where the bytes are damaged, of another version, or of another plan.
    """
    body = _checked(data)
    if body["plan"] != program.identity:
        raise StateError(
            f"the saved state belongs to plan {body['plan']}, this run's plan is "
            f"{program.identity}; use the strategy and settings it was started with, or a new "
            "folder"
        )
    lanes, symbols = len(program.lanes), len(program.plan.symbols)
    try:
        return Block(
            buffer=decode_buffer(body["align"], symbols),
            features=decode_features(body["compute"], program.features),
            books=decode_books(body["trade"], lanes, symbols),
            audited=body["audited"],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateError(f"the saved state is damaged: {type(error).__name__}") from error


def _checked(data: bytes) -> dict[str, Any]:
    if len(data) < _HEADER.size:
        raise StateError(f"the saved state is cut short: {len(data)} bytes")
    magic, version, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise StateError("the saved state does not start as one of this program")
    if version != VERSION:
        raise StateError(
            f"the saved state has version {version}, this program reads {VERSION}; "
            f"finish the run with the release that started it, or start a new one"
        )
    payload = data[_HEADER.size :]
    if zlib.crc32(payload) != checksum:
        raise StateError("the saved state is damaged: its checksum does not match")
    try:
        body = msgpack.unpackb(payload, ext_hook=_unpack)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise StateError("the saved state is damaged: it cannot be unpacked") from error
    if not isinstance(body, dict) or "plan" not in body:
        raise StateError("the saved state is damaged: it holds no block")
    return body


def _pack(value: object) -> object:
    if isinstance(value, np.ndarray):
        packed = [value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes()]
        return msgpack.ExtType(_ARRAY, msgpack.packb(packed))
    if isinstance(value, np.integer):
        return int(value)
    raise TypeError(f"a state holds no {type(value).__name__}")


def _unpack(code: int, data: bytes) -> np.ndarray[Any, Any]:
    if code != _ARRAY:
        raise ValueError(f"an extension {code}")
    dtype, shape, content = msgpack.unpackb(data)
    if dtype not in _DTYPES:
        raise ValueError(f"an array of {dtype!r}")
    return np.frombuffer(content, dtype).reshape(shape).copy()
