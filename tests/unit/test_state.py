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
from streambt_spark.core.plan import compile_plan
from streambt_spark.core.state import VERSION, decode, encode
from streambt_spark.errors import StateError
from tests.property.test_state import PLAN, PROGRAM, SAVED, plan_of


def sealed(payload: bytes, version: int = VERSION) -> bytes:
    """Return a payload under a header that fits it."""
    return struct.pack(">3sBI", b"SBT", version, zlib.crc32(payload)) + payload


def array(dtype: str, count: int) -> msgpack.ExtType:
    """Return eight bytes that are said to be so many values."""
    return msgpack.ExtType(1, msgpack.packb([dtype, [count], b"\0" * 8]))


def test_a_new_block_is_a_state_too() -> None:
    """Before the first row, with nothing in it."""
    saved = encode(open_block(PROGRAM), PROGRAM)
    assert encode(decode(saved, PROGRAM), PROGRAM) == saved


def test_a_restored_block_can_be_written_to() -> None:
    """The arrays are copies, not views of the bytes."""
    books = decode(SAVED, PROGRAM).books
    assert all(records.flags.writeable for records in (books.accounts, books.positions))


def test_another_plan_is_refused() -> None:
    """Other symbols or other lanes: the message names both plans."""
    for other in (plan_of(("A", "C")), replace(PLAN, lanes=PLAN.lanes[:2])):
        with pytest.raises(StateError, match=rf"belongs to plan {PLAN.identity}.*{other.identity}"):
            decode(SAVED, compile_plan(other))


def test_another_version_is_refused() -> None:
    """With the way out: the release that wrote it."""
    with pytest.raises(StateError, match=r"has version 99, this program reads 2; finish the run"):
        decode(sealed(SAVED[8:], 99), PROGRAM)


def test_what_was_never_a_block_is_refused_under_a_sound_checksum() -> None:
    """No KeyError, no TypeError, and no array of objects."""
    body = msgpack.unpackb(SAVED[8:])
    align, trade = body["align"], body["trade"]
    bodies: tuple[Any, ...] = (
        [],
        {},
        {"plan": PLAN.identity},
        {**body, "align": {**align, "seen": array("|O8", 1)}},
        {**body, "align": {**align, "seen": array("<i8", 3)}},
        {**body, "align": {**align, "seen": 5}},
        {**body, "align": {"seen": align["seen"]}},
        {**body, "align": {**align, "seen": msgpack.ExtType(7, b"")}},
        {**body, "compute": 5},
        {**body, "compute": {**body["compute"], "past": array("<f8", 0)}},
        {**body, "compute": {**body["compute"], "begun": align["seen"]}},
        {**body, "compute": {**body["compute"], "carries": [align["seen"]]}},
        {**body, "trade": {**trade, "accounts": {}}},
        {**body, "trade": {**trade, "orders": trade["orders"][:2]}},
        {**body, "trade": {**trade, "positions": trade["accounts"]}},
    )
    for wrong in bodies:
        with pytest.raises(StateError, match="damaged"):
            decode(sealed(msgpack.packb(wrong)), PROGRAM)


def test_the_state_is_small_and_bounded() -> None:
    """A block of two symbols and three lanes stays below 64 KiB over 2,000 slices."""
    from streambt_spark.engines import local
    from tests.property.streams import bars_of

    sizes = [
        len(encode(b, PROGRAM))
        for b, _ in local.fold(PLAN, bars_of(np.ones((2000, 2), bool), 1), 300)
    ]
    assert max(sizes) < 64 * 1024
