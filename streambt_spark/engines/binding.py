"""Whose a folder, a ledger and a checkpoint are: one run's, from the first time that it writes.

_run.json in a run's folder, and at a ledger elsewhere, names the run and the engine; manifest.json
in a checkpoint tells all that the run depends on. The folder's own manifest.json is no part of
this: it is the record of a run that has finished. While a run works it holds its places besides,
see `stores.lease`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streambt_spark.core.identity import digest_of
from streambt_spark.errors import CheckpointMismatch, OutputError, StateError
from streambt_spark.masking import mask
from streambt_spark.spark.checkpoint import OF_SPARK, OFFSETS, resume
from streambt_spark.stores.ledger import ledger_exists
from streambt_spark.stores.location import Location

if TYPE_CHECKING:
    from streambt_spark.core.plan import Plan
    from streambt_spark.spark.checkpoint import Moment

MANIFEST = "manifest.json"
MARK = "_run.json"
RUN_ID = "run_id"
PACKAGES = ("numpy", "numba", "pandas", "ta-lib")
"""What computes values besides this package: a run is not gone on with under another version."""
_SAME = (RUN_ID, "layout", "versions")
_SHOWN = 3


def run_id(plan: Plan, bars: str) -> str:
    """Return the digest of all that determines a ledger: strategies, accounts, bars and code.

    `bars` is the digest of the bars, or the name of what they will come from.
    """
    code = version("streambt-spark")
    return digest_of({"plan": plan.identity, "bars": bars, "code": code})


def manifest(plan: Plan, bars: str, layout: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint is bound to: the run, its layout and the versions it began with.

    Nothing of it enters the ledger. What the run's id covers is there besides, so that a
    difference can be told by name.
    """
    return {
        RUN_ID: run_id(plan, bars),
        "plan": plan.identity,
        "nodes": [node.identity for node in plan.nodes],
        "lanes": [
            {
                "name": lane.name,
                "allocation": getattr(lane.allocation, "__qualname__", repr(lane.allocation)),
                "broker": asdict(lane.broker),
            }
            for lane in plan.lanes
        ],
        "symbols": list(plan.symbols),
        "interval": plan.interval,
        "bars": bars,
        "layout": dict(layout),
        "streambt_spark": version("streambt-spark"),
        "versions": {name: version(name) for name in PACKAGES},
    }


def layout_of(checkpoint: str) -> Mapping[str, Any]:
    """Return the layout that a checkpoint is bound to; nothing where it is bound to no run."""
    folder = Location.of(checkpoint)
    if MANIFEST not in folder.names():
        return {}
    layout = _read(folder / MANIFEST).get("layout")
    return layout if isinstance(layout, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Mark:
    """A run's name and places; `folder` and `checkpoint` are None where it has none."""

    run_id: str
    engine: str
    folder: str | None
    ledger: str
    checkpoint: str | None = None

    @property
    def is_used(self) -> bool:
        """Whether the run has written anything that another one could spoil."""
        if self.folder is not None and Path(self.folder, MANIFEST).exists():
            return True
        begun = self.checkpoint is not None and (Location.of(self.checkpoint) / OFFSETS).names()
        return bool(begun) or ledger_exists(self.ledger)


def claim(mark: Mark, manifest: Mapping[str, Any]) -> Moment:
    """Make the places of a Spark run its own, and return how far it is.

    Raises CheckpointMismatch, OutputError, StateError or StoreError, before anything is written,
    where a place is another run's, is damaged, or is not of one moment with the others.
    """
    assert mark.checkpoint is not None
    checkpoint = Location.of(mark.checkpoint)
    known = MANIFEST in checkpoint.names()
    if known and not mark.is_used and OFFSETS not in checkpoint.names():
        (checkpoint / MANIFEST).remove()  # of a run that has written nothing else
        known = False
    if known:
        bind(checkpoint.text, manifest)
    require_own(mark)
    moment = resume(checkpoint.text, mark.ledger)
    if not known:
        bind(checkpoint.text, manifest)
    put(mark)
    return moment


def require_own(mark: Mark) -> None:
    """Raise OutputError where a place of the run is another one's, or may be.

    Whatever files are there, the mark says whose they are; of a table without one nothing does.
    """
    for address in filter(None, (mark.folder, mark.ledger)):
        held = _mark_of(Location.of(address))
        if held is None or _name(held) == _name(mark) or not held.is_used:
            continue
        raise OutputError(
            f"{address} holds the {held.engine} run {held.run_id:.12}{_in(held.folder)}, this is "
            f"the {mark.engine} run {mark.run_id:.12}{_in(mark.folder)}; choose another folder, or "
            "delete what is there to start again",
            address=address,
        )
    if mark.checkpoint is None and _mark_of(Location.of(mark.ledger)) is None:
        _require_no_table(mark.ledger)  # with a checkpoint, that tells whose the table is


def _require_no_table(ledger: str) -> None:
    if ledger_exists(ledger):
        raise OutputError(
            f"{ledger} holds a table that no run has marked as its ledger, such as a copy, and "
            "this run would replace it; choose another --ledger or --out, or delete it",
            address=ledger,
        )


def put(mark: Mark) -> None:
    """Write the mark into the run's folder, and to its ledger where that is elsewhere."""
    for place in map(Location.of, dict.fromkeys((mark.folder or mark.ledger, mark.ledger))):
        if place.text == mark.ledger and mark.folder is not None and _parent(place) == mark.folder:
            continue
        values = {name: _seen_from(place, value) for name, value in asdict(mark).items()}
        place.make()
        (place / MARK).write_bytes(json.dumps(values, indent=1).encode())


def bind(checkpoint: str | os.PathLike[str], manifest: Mapping[str, Any]) -> bool:
    """Bind a checkpoint folder (local or s3a://) to a run; return whether it is a resumed one.

    The first start writes the manifest, which must have a run_id and be JSON, into the folder;
    each later start compares the run's id, its layout and its versions. Call it before the query
    starts: nothing is written where it raises CheckpointMismatch, for a checkpoint of another run
    or one without a manifest, or StateError, for a damaged manifest.
    """
    folder = Location.of(checkpoint)
    wanted = json.loads(json.dumps(manifest))
    names = folder.names()
    if MANIFEST in names:
        _require_same(folder, _read(folder / MANIFEST), wanted)
        return True
    if found := sorted(OF_SPARK.intersection(names)):
        raise CheckpointMismatch(
            f"{folder.text} holds a checkpoint ({', '.join(found)}) without a {MANIFEST}, so it "
            "cannot be told whose it is; choose another folder",
            address=folder.text,
        )
    folder.make()
    content = json.dumps(wanted, indent=1, sort_keys=True).encode()
    if folder.remote:
        (folder / MANIFEST).write_bytes(content)
    else:
        with folder.guard("write"):
            _write_durably(Path(folder.text, MANIFEST), content)
    return False


def _mark_of(place: Location) -> Mark | None:
    """Return the mark of the run that a place is of; None where there is none.

    A ledger or a checkpoint may have its mark in the folder that it is in. Whatever else is there
    can be another run's own folder: `--out runs` and `--out runs/b`.
    """
    if (held := _mark_in(place)) is not None:
        return held
    held = _mark_in(Location(_parent(place)))
    return held if held is not None and place.text in (held.ledger, held.checkpoint) else None


def _mark_in(folder: Location) -> Mark | None:
    file = folder / MARK
    if MARK not in folder.names():
        return None
    try:
        values = {n: _resolved(folder, v) for n, v in json.loads(file.read_bytes()).items()}
        return Mark(**values)
    except (ValueError, TypeError, AttributeError) as error:
        raise StateError(
            f"{file.text} is damaged ({error}); choose another folder", address=file.text
        ) from error


_HERE = "./"
"""What stands for the place of a mark, so that a folder can be moved."""


def _seen_from(place: Location, value: str | None) -> str | None:
    if value is None or not f"{value}/".startswith(f"{place.text}/"):
        return value
    return _HERE + value[len(place.text) + 1 :]


def _resolved(place: Location, value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(_HERE):
        return value
    return f"{place.text}/{value[len(_HERE) :]}".rstrip("/")


def _parent(place: Location) -> str:
    return place.text.rpartition("/")[0] or "/"


def _name(mark: Mark) -> tuple[str, str, str | None]:
    return mark.run_id, mark.engine, mark.folder


def _in(folder: str | None) -> str:
    return f" in {folder}" if folder else ""


def _read(place: Location) -> dict[str, Any]:
    try:
        found = json.loads(place.read_bytes())
    except ValueError as error:
        raise StateError(
            f"{place.text} is damaged ({error}); start with another folder", address=place.text
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get(RUN_ID), str):
        raise StateError(
            f"{place.text} is damaged (it has no {RUN_ID}); start with another folder",
            address=place.text,
        )
    return found


def _require_same(folder: Location, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if all(found.get(name) == wanted.get(name) for name in _SAME):
        return
    before, now = dict(_flat(found)), dict(_flat(wanted))
    names = [n for n in sorted(before | now) if n != RUN_ID and before.get(n) != now.get(n)]
    shown = names[:_SHOWN] or [RUN_ID]
    parts = [f"{n} was {_text(before.get(n))}, is {_text(now.get(n))}" for n in shown]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise CheckpointMismatch(
        f"checkpoint {folder.text} belongs to another run: {mask('; '.join(parts))}{more}; "
        "nothing was written; run with the same settings, or choose another folder",
        address=folder.text,
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
    partial = path.with_name(f"{MANIFEST}.partial")
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
