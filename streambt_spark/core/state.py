"""The state codec: a block as versioned bytes with a checksum, and back.

Layout: magic 'SBT', version (1 byte), CRC-32 of the rest (4 bytes, big endian), msgpack. Nothing in
it is executable: arrays are (dtype, shape, bytes) with a fixed set of dtypes.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from streambt_spark.core.block import Block, program_of
from streambt_spark.core.broker.kernel import Account
from streambt_spark.core.indicators.features import decode_features, encode_features
from streambt_spark.core.market.slices import decode_buffer, encode_buffer
from streambt_spark.errors import StateError

if TYPE_CHECKING:
    from streambt_spark.core.plan import Plan

VERSION = 1
_HEADER = struct.Struct(">3sBI")
_MAGIC = b"SBT"
_DTYPES = frozenset({"<i8", "<i4", "|i1", "<f8", "|b1"})


def encode(block: Block, plan: Plan) -> bytes:
    """Return the block as bytes that only `plan` can decode."""
    features = block.features
    body = {
        "plan": plan.identity,
        "audited": block.audited,
        "buffer": {name: _pack(array) for name, array in encode_buffer(block.buffer).items()},
        "features": {name: _plain(value) for name, value in encode_features(features).items()},
        "accounts": [[_pack(column) for column in account] for account in block.accounts],
    }
    payload: bytes = msgpack.packb(body)
    return _HEADER.pack(_MAGIC, VERSION, zlib.crc32(payload)) + payload


def decode(data: bytes, plan: Plan) -> Block:
    """Return the block that `encode` wrote.

    Raises StateError where the bytes are damaged, of another version, or of another plan.
    """
    body = _checked(data)
    if body["plan"] != plan.identity:
        raise StateError(
            f"the saved state belongs to plan {body['plan']}, this run's plan is {plan.identity}; "
            f"use the strategy and settings it was started with, or a new folder"
        )
    try:
        return Block(
            buffer=decode_buffer({name: _unpack(a) for name, a in body["buffer"].items()}),
            features=decode_features(
                {name: _arrays(value) for name, value in body["features"].items()},
                program_of(plan),
            ),
            accounts=tuple(
                Account._make(_unpack(column) for column in columns) for columns in body["accounts"]
            ),
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
        body = msgpack.unpackb(payload)
    except (ValueError, msgpack.UnpackException) as error:
        raise StateError("the saved state is damaged: it cannot be unpacked") from error
    if not isinstance(body, dict) or "plan" not in body:
        raise StateError("the saved state is damaged: it holds no block")
    return body


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_pack(array) for array in value]
    return _pack(value) if isinstance(value, np.ndarray) else value


def _arrays(value: Any) -> Any:
    """Return what `_plain` made plain: a packed array starts with its dtype."""
    if isinstance(value, list):
        packed = value and isinstance(value[0], str)
        return _unpack(value) if packed else [_unpack(array) for array in value]
    return value


def _pack(array: np.ndarray[Any, Any]) -> list[Any]:
    return [array.dtype.str, list(array.shape), np.ascontiguousarray(array).tobytes()]


def _unpack(packed: list[Any]) -> np.ndarray[Any, Any]:
    dtype, shape, data = packed
    if dtype not in _DTYPES:
        raise StateError(f"the saved state is damaged: it holds an array of {dtype!r}")
    return np.frombuffer(data, dtype).reshape(shape).copy()
