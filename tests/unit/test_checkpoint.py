"""A checkpoint is looked at before a run goes on from it: what is damaged, what was never durable,
and whether it and the ledger are of one moment.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from streambt_spark.errors import CheckpointMismatch, StateError, StoreError
from streambt_spark.spark.checkpoint import Moment, offsets_of, resume
from streambt_spark.stores.delta import entries
from tests.unit.test_delta import cut, flip, sums

ROWS = pa.table({"kind": ["fill"]})


class Run:
    """A run of a replay that has got to a batch, with Hadoop's checksums beside its files."""

    def __init__(self, folder: Path, batches: int, *, planned: int | None = None) -> None:
        self.checkpoint, self.ledger = folder / "checkpoint", folder / "ledger"
        for name in ("offsets", "commits", "state/0/0"):
            (self.checkpoint / name).mkdir(parents=True)
        self.write("metadata", json.dumps({"id": "query"}))
        for batch in range(batches):
            self.plan(batch)
            wrote = CommitProperties(app_transactions=[Transaction("query", batch)])
            write_deltalake(self.ledger, ROWS, mode="append", commit_properties=wrote)
            self.write(f"state/0/0/{batch + 1}.delta", f"state {batch}" * 100)
            self.write(f"commits/{batch}", 'v1\n{"nextBatchWatermarkMs":0}')
        if planned is not None:
            self.plan(planned)

    def plan(self, batch: int) -> None:
        """Write the offsets of a batch."""
        self.write(f"offsets/{batch}", f'v1\n{{"conf":{{}}}}\n{{"slice": {batch + 1}}}')

    def write(self, name: str, text: str) -> None:
        """Write a file of the checkpoint."""
        path = self.checkpoint / name
        path.write_text(text)
        sums(path)

    def empty(self, name: str) -> None:
        """Leave of a file what a power cut leaves."""
        (self.checkpoint / name).write_bytes(b"")

    def resume(self) -> Moment:
        """Look at it."""
        return resume(str(self.checkpoint), str(self.ledger))

    def files(self) -> dict[str, bytes]:
        """Return everything in it."""
        both = (self.checkpoint, self.ledger)
        return {str(p): p.read_bytes() for f in both for p in f.rglob("*") if p.is_file()}


def test_a_run_goes_on_from_where_it_is(tmp_path: Path) -> None:
    """Between batches, in one, and before the first; nothing is changed."""
    assert resume(str(tmp_path / "none"), str(tmp_path / "none")) == Moment(-1, -1, -1)
    for number, (run, moment) in enumerate(
        (
            (Run(tmp_path / "a", 3), Moment(2, 2, 2)),
            (Run(tmp_path / "b", 3, planned=3), Moment(3, 2, 2)),
            (Run(tmp_path / "c", 0, planned=0), Moment(0, -1, -1)),
        )
    ):
        before = run.files()
        assert run.resume() == moment, number
        assert run.files() == before
    assert offsets_of(str(tmp_path / "a" / "checkpoint"), 1) == [{"slice": 2}]


def test_a_start_that_was_killed_has_begun_nothing(tmp_path: Path) -> None:
    """Spark opens its logs before it writes `metadata`, which a power cut may leave empty; a batch
    that was planned, or state, is not begun anew.
    """
    for number, left in enumerate((None, b"")):
        run = Run(tmp_path / str(number), 0)
        for folder in ("state/0/0", "state/0", "state"):
            (run.checkpoint / folder).rmdir()
        run.empty("metadata")
        if left is None:
            (run.checkpoint / "metadata").unlink()
        else:
            run.empty("offsets/0")
        assert run.resume() == Moment(-1, -1, -1)
        assert run.resume() == Moment(-1, -1, -1)
        assert not (run.checkpoint / "metadata").exists()
        assert not (run.checkpoint / "offsets" / "0").exists()
        run.plan(0)
        with pytest.raises(StateError, match=r"metadata is damaged: it is missing, but there are"):
            run.resume()
    lost = Run(tmp_path / "lost", 0)
    (lost.checkpoint / "metadata").unlink()
    with pytest.raises(StateError, match=r"it is missing, but there are commits, offsets, state"):
        lost.resume()


@pytest.mark.parametrize(("batches", "planned"), [(0, None), (0, 0), (1, None)])
def test_a_topic_s_first_offsets_that_were_never_durable(
    tmp_path: Path, batches: int, planned: int | None
) -> None:
    """Nothing can begin from them, so the first batch is planned anew, if it is not committed."""
    run = Run(tmp_path, batches, planned=planned)
    (run.checkpoint / "sources" / "0").mkdir(parents=True)
    run.empty("sources/0/0")
    if batches:
        (run.checkpoint / "commits" / "0").unlink()
    assert run.resume() == Moment(-1, -1, -1)
    assert not (run.checkpoint / "sources" / "0" / "0").exists()
    assert not (run.checkpoint / "offsets" / "0").exists()
    assert not (run.checkpoint / "state").exists()
    assert entries(run.ledger) == []
    later = Run(tmp_path / "later", 1)
    (later.checkpoint / "sources" / "0").mkdir(parents=True)
    later.empty("sources/0/0")
    assert later.resume() == Moment(0, 0, 0)  # read once, and not again


def test_a_batch_that_was_written_but_not_committed(tmp_path: Path) -> None:
    """It runs again, and the ledger, which has it, leaves it out."""
    run = Run(tmp_path, 3)
    (run.checkpoint / "commits" / "2").unlink()
    assert run.resume() == Moment(2, 1, 2)


@pytest.mark.parametrize(
    ("empty", "moment"),
    [
        (("commits/2",), Moment(2, 1, 2)),
        (("offsets/3",), Moment(2, 2, 2)),
        (("offsets/2",), Moment(1, 1, 1)),
        (("offsets/2", "commits/2"), Moment(1, 1, 1)),
    ],
)
def test_an_empty_newest_file_was_never_durable(
    tmp_path: Path, empty: tuple[str, ...], moment: Moment
) -> None:
    """It is dropped; a ledger that has the batch whose offsets are lost is set back by it."""
    run = Run(tmp_path, 3)
    for name in empty:
        run.empty(name)
    assert run.resume() == moment
    assert run.resume() == moment
    assert not any((run.checkpoint / name).exists() for name in empty)
    assert len(entries(run.ledger)) == moment.written + 1


def test_a_ledger_that_lost_its_newest_entry(tmp_path: Path) -> None:
    """Empty or gone, with or without Delta's sums: its batch runs again from the same offsets."""
    for number, left in enumerate((None, b"")):
        run = Run(tmp_path / str(number), 3)
        newest = entries(run.ledger)[-1]
        newest.with_suffix(".crc").write_text("{}")
        newest.unlink()
        if left is not None:
            newest.write_bytes(left)
        assert run.resume() == Moment(2, 1, 1)
        assert not (run.checkpoint / "commits" / "2").exists()
        assert not newest.with_suffix(".crc").exists()


def _older_checkpoint(run: Run) -> None:
    for batch in (1, 2):
        (run.checkpoint / "offsets" / str(batch)).unlink()
        (run.checkpoint / "commits" / str(batch)).unlink()


def _older_ledger(run: Run) -> None:
    for entry in entries(run.ledger)[1:]:
        entry.unlink()


def _no_ledger(run: Run) -> None:
    for entry in entries(run.ledger):
        entry.unlink()


def _lost_offsets(run: Run) -> None:
    (run.checkpoint / "offsets" / "2").unlink()
    (run.checkpoint / "commits" / "2").unlink()


@pytest.mark.parametrize("change", [_older_checkpoint, _older_ledger, _no_ledger, _lost_offsets])
def test_what_is_not_of_one_moment_is_refused(
    tmp_path: Path, change: Callable[[Run], None]
) -> None:
    """With where both are, and what to do; Delta would skip the batches that it has."""
    run = Run(tmp_path, 3)
    change(run)
    before = run.files()
    with pytest.raises(CheckpointMismatch, match="not of one moment") as caught:
        run.resume()
    text = str(caught.value)
    assert str(run.checkpoint) in text
    assert str(run.ledger) in text
    assert "put both back as they were together, or delete both" in text
    assert run.files() == before


def test_another_query_s_ledger_is_refused(tmp_path: Path) -> None:
    """A checkpoint made anew would write every event again."""
    run = Run(tmp_path, 3)
    run.write("metadata", json.dumps({"id": "another"}))
    with pytest.raises(CheckpointMismatch, match="but not of this checkpoint's query"):
        run.resume()


@pytest.mark.parametrize(
    "name",
    ["metadata", "offsets/3", "offsets/2", "commits/2", "state/0/0/3.delta", "state/0/0/1.delta"],
)
@pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["flipped", "cut", "gone"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: Callable[[Path], None], name: str) -> None:
    """Before the run starts, in one line with the way out."""
    run = Run(tmp_path, 3, planned=3)
    damage(run.checkpoint / name)
    if damage is Path.unlink and name == "offsets/3":
        assert run.resume() == Moment(2, 2, 2)  # as if it had not been planned yet
        return
    if damage is Path.unlink and name == "commits/2":
        with pytest.raises(CheckpointMismatch, match="not of one moment"):
            run.resume()
        return
    with pytest.raises(StateError) as caught:
        run.resume()
    assert f"{run.checkpoint / name} is damaged" in str(caught.value)
    assert "put it back from a copy" in str(caught.value)


@pytest.mark.parametrize("name", ["3.delta", "3.snapshot"])
@pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["flipped", "cut", "gone"])
def test_a_batch_that_lost_its_state_runs_again(
    tmp_path: Path, damage: Callable[[Path], None], name: str
) -> None:
    """Written but not committed, it would be left out by the ledger, and what it has kept is needed
    next: so the ledger is set back by it, and it keeps the same again.
    """
    run = Run(tmp_path, 3)
    kept = run.checkpoint / "state" / "0" / "0"
    if name == "3.snapshot":
        run.write("state/0/0/3.snapshot", "all up to it")
    (run.checkpoint / "commits" / "2").unlink()
    damage(kept / name)
    if not (kept / name).exists() and name == "3.snapshot":
        assert run.resume() == Moment(2, 1, 2)  # the deltas tell the same
        return
    for _ in range(2):
        assert run.resume() == Moment(2, 1, 1)
        assert len(entries(run.ledger)) == 2
        names = sorted(path.name for path in kept.iterdir())
        assert names == [".1.delta.crc", ".2.delta.crc", "1.delta", "2.delta"]
        run.write("state/0/0/3.snapshot", "what was left, had it been killed in between")


def test_a_first_batch_that_lost_its_state_runs_again(tmp_path: Path) -> None:
    """Also where nothing is left of it, not even the folders."""
    run = Run(tmp_path, 1)
    for lost in ("commits/0", "state/0/0/1.delta", "state/0/0/.1.delta.crc"):
        (run.checkpoint / lost).unlink()
    for folder in ("state/0/0", "state/0", "state"):
        (run.checkpoint / folder).rmdir()
    assert run.resume() == Moment(0, -1, -1)
    assert entries(run.ledger) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: DeltaTable(run.ledger).create_checkpoint(), "cannot be set back"),
        (lambda run: cut(run.checkpoint / "state" / "0" / "0" / "2.delta"), r"2\.delta is damaged"),
    ],
    ids=["Delta has summed it up", "its own state is damaged"],
)
def test_a_batch_that_cannot_run_again_is_left_as_it_is(
    tmp_path: Path, spoil: Callable[[Run], None], said: str
) -> None:
    """Refused before anything is changed."""
    run = Run(tmp_path, 3)
    for lost in ("commits/2", "state/0/0/3.delta"):
        (run.checkpoint / lost).unlink()
    spoil(run)
    before = run.files()
    with pytest.raises(StateError, match=said):
        run.resume()
    assert run.files() == before


def test_damage_is_found_without_checksums_too(tmp_path: Path) -> None:
    """A copy may have left the hidden files out."""
    for name in ("metadata", "offsets/2", "commits/2"):
        run = Run(tmp_path / name, 3)
        for hidden in run.checkpoint.rglob(".*.crc"):
            hidden.unlink()
        cut(run.checkpoint / name)
        with pytest.raises(StateError, match=f"{name} is damaged"):
            run.resume()


def test_only_the_state_that_is_needed_must_be_there(tmp_path: Path) -> None:
    """Spark deletes what a snapshot sums up."""
    run = Run(tmp_path, 3)
    run.write("state/0/0/2.snapshot", "all up to it")
    for version in (1, 2):
        (run.checkpoint / "state" / "0" / "0" / f"{version}.delta").unlink()
    assert run.resume() == Moment(2, 2, 2)
    (run.checkpoint / "state" / "0" / "0" / "2.snapshot").unlink()
    with pytest.raises(StateError, match=r"state/0/0/1.delta is damaged: it is missing"):
        run.resume()


def test_a_damaged_ledger_is_told_before_the_run(tmp_path: Path) -> None:
    """Not after hours, when its result is read."""
    run = Run(tmp_path, 3)
    flip(next(run.ledger.glob("*.parquet")).rename(run.ledger / "x.parquet"))
    with pytest.raises(StoreError, match="is damaged: it is missing"):
        run.resume()
