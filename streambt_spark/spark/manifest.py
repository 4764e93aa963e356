"""What ties a checkpoint to its run: a manifest inside it, checked before anything is written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from streambt_spark.errors import CheckpointMismatch, StateError
from streambt_spark.masking import mask
from streambt_spark.stores.location import Location

NAME = "manifest.json"
RUN_ID = "run_id"
_OF_SPARK = frozenset({"offsets", "commits", "metadata", "sources", "state"})
_SHOWN = 3


def bind(checkpoint: str | os.PathLike[str], manifest: Mapping[str, Any]) -> bool:
    """Bind a checkpoint folder (local or s3a://) to a run; return whether it is a resumed one.

    The first start writes the manifest, which must have a run_id and be JSON, into the folder;
    each later start compares run ids. Call it before the query starts: nothing is written where it
    raises CheckpointMismatch, for a checkpoint of another run or one without a manifest, or
    StateError, for a damaged manifest.
    """
    folder = Location.of(checkpoint)
    wanted = json.loads(json.dumps(manifest))
    names = folder.names()
    if NAME in names:
        _require_same(folder, _read(folder / NAME), wanted)
        return True
    if found := sorted(_OF_SPARK.intersection(names)):
        raise CheckpointMismatch(
            f"{folder.text} holds a checkpoint ({', '.join(found)}) without a {NAME}, so it cannot "
            "be told whose it is; choose another folder"
        )
    folder.make()
    content = json.dumps(wanted, indent=1, sort_keys=True).encode()
    if folder.remote:
        (folder / NAME).write_bytes(content)
    else:
        with folder.guard("write"):
            _write_durably(Path(folder.text, NAME), content)
    return False


def _read(place: Location) -> dict[str, Any]:
    try:
        found = json.loads(place.read_bytes())
    except ValueError as error:
        raise StateError(f"{place.text} is damaged ({error}); start with another folder") from error
    if not isinstance(found, dict) or not isinstance(found.get(RUN_ID), str):
        raise StateError(f"{place.text} is damaged (it has no {RUN_ID}); start with another folder")
    return found


def _require_same(folder: Location, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if found[RUN_ID] == wanted[RUN_ID]:
        return
    before, now = dict(_flat(found)), dict(_flat(wanted))
    names = [n for n in sorted(before | now) if n != RUN_ID and before.get(n) != now.get(n)]
    shown = names[:_SHOWN] or [RUN_ID]
    parts = [f"{n} was {_text(before.get(n))}, is {_text(now.get(n))}" for n in shown]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise CheckpointMismatch(
        f"checkpoint {folder.text} belongs to another run: {mask('; '.join(parts))}{more}; "
        "nothing was written; run with the same settings, or choose another folder"
    )


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    items: Iterator[tuple[Any, Any]]
    if isinstance(value, Mapping) and value:
        items = iter(value.items())
    elif isinstance(value, list) and value:
        items = enumerate(value)
    else:
        yield name, value
        return
    for key, inner in items:
        yield from _flat(inner, f"{name}.{key}" if name else str(key))


def _text(value: Any) -> str:
    text = "not set" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _write_durably(path: Path, content: bytes) -> None:
    # Spark's first offset may reach the disk only after this.
    partial = path.with_name(f"{NAME}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
