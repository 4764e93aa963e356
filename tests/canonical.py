"""A decoder of the canonical form, written from its description and not from the encoder."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

from streambt_spark.core.ledger.fields import REGISTRY, Registry

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_back(data: bytes, registry: Registry = REGISTRY) -> list[dict[str, Any]]:
    """Return the events that some canonical bytes hold: the fields that are not null."""
    events, at = [], 0
    while at < len(data):
        (mask,) = struct.unpack_from("<Q", data, at)
        at += 8
        event = {}
        for field in registry.fields:
            if not mask >> field.number & 1:
                continue
            if field.words:
                (size,) = struct.unpack_from("<I", data, at)
                event[field.name] = data[at + 4 : at + 4 + size].decode()
                at += 4 + size
            else:
                (event[field.name],) = struct.unpack_from(
                    "<d" if field.is_float else "<q", data, at
                )
                at += 8
        assert mask >> (1 + max(field.number for field in registry.fields)) == 0
        events.append(event)
    assert at == len(data)
    return events


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a ledger's table as `read_back` gives it."""
    row = {**row, "ts": (row["ts"] - EPOCH) // timedelta(microseconds=1)}
    return {name: value for name, value in row.items() if not _is_null(value)}


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
