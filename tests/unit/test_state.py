"""The state codec: what it refuses, and that it says why."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest

from streambt_spark.core.block import open_block
from streambt_spark.core.state import VERSION, decode, encode
from streambt_spark.errors import StateError
from tests.property.test_state import PLAN, SAVED, plan_of


def sealed(payload: bytes, version: int = VERSION) -> bytes:
    """Return a payload under a header that fits it."""
    return struct.pack(">3sBI", b"SBT", version, zlib.crc32(payload)) + payload


def test_a_new_block_is_a_state_too() -> None:
    """Before the first row, with nothing in it."""
    saved = encode(open_block(PLAN), PLAN)
    assert encode(decode(saved, PLAN), PLAN) == saved


def test_a_restored_block_can_be_written_to() -> None:
    """The arrays are copies, not views of the bytes."""
    block = decode(SAVED, PLAN)
    assert all(column.flags.writeable for account in block.accounts for column in account)


def test_another_plan_is_refused() -> None:
    """Other symbols or other lanes: the message names both plans."""
    for other in (plan_of(("A", "C")), replace(PLAN, lanes=PLAN.lanes[:2])):
        with pytest.raises(StateError, match=rf"belongs to plan {PLAN.identity}.*{other.identity}"):
            decode(SAVED, other)


def test_another_version_is_refused() -> None:
    """With the way out: the release that wrote it."""
    with pytest.raises(StateError, match=r"has version 99, this program reads 1; finish the run"):
        decode(sealed(SAVED[8:], 99), PLAN)


def test_what_was_never_a_block_is_refused_under_a_sound_checksum() -> None:
    """No KeyError, no TypeError, and no array of objects."""
    body = msgpack.unpackb(SAVED[8:])
    bodies: tuple[Any, ...] = (
        [],
        {},
        {"plan": PLAN.identity},
        {**body, "buffer": {**body["buffer"], "seen": ["|O8", [1], b"\0" * 8]}},
        {**body, "buffer": {**body["buffer"], "seen": ["<i8", [3], b"\0" * 8]}},
        {**body, "buffer": {"seen": body["buffer"]["seen"]}},
        {**body, "buffer": 5},
        {**body, "accounts": [[body["buffer"]["seen"]]]},
        {**body, "features": 5},
        {**body, "features": {**body["features"], "past": ["<f8", [0], b""]}},
        {**body, "features": {**body["features"], "begun": body["buffer"]["seen"]}},
        {**body, "features": {**body["features"], "carries": [body["buffer"]["seen"]]}},
    )
    for wrong in bodies:
        with pytest.raises(StateError, match="damaged"):
            decode(sealed(msgpack.packb(wrong)), PLAN)


def test_the_state_is_small_and_bounded() -> None:
    """A block of two symbols and three lanes stays below 64 KiB over 2,000 slices."""
    from streambt_spark.engines import local
    from tests.property.streams import bars_of

    sizes = [
        len(encode(b, PLAN)) for b, _ in local.fold(PLAN, bars_of(np.ones((2000, 2), bool), 1), 300)
    ]
    assert max(sizes) < 64 * 1024
