"""A folder, a ledger and a checkpoint are one run's, and say so before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from streambt_spark.engines.binding import MANIFEST, MARK, Mark, bind, claim, put, require_own
from streambt_spark.errors import CheckpointMismatch, OutputError, StateError

RUN: dict[str, Any] = {
    "run_id": "aa11",
    "config": {"cash": 1000, "commission": "0.1%", "symbols": ["A", "B"]},
    "version": "0.1.0",
}


def content(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_first_start_writes_and_later_ones_resume(tmp_path: Path) -> None:
    """The first start writes the manifest alone; the same run is then a resumed one."""
    folder = tmp_path / "deep" / "checkpoint"
    assert bind(folder, RUN) is False
    assert list(content(folder)) == [MANIFEST]
    assert bind(folder, RUN) is True


def test_an_equal_run_id_is_the_same_run(tmp_path: Path) -> None:
    """What is not part of the identity may change between starts, and the file stays."""
    bind(tmp_path, RUN)
    before = content(tmp_path)
    assert bind(tmp_path, RUN | {"version": "0.1.1"}) is True
    assert content(tmp_path) == before


def test_another_run_is_refused_by_its_settings(tmp_path: Path) -> None:
    """The first settings that differ are named, with what was and what is; nothing is written."""
    bind(tmp_path, RUN)
    before = content(tmp_path)
    other = {
        "run_id": "bb22",
        "config": {"cash": 2000, "symbols": ["A", "C"], "short": True},
        "version": "0.2.0",
    }
    with pytest.raises(CheckpointMismatch) as caught:
        bind(tmp_path, other)
    text = str(caught.value)
    assert "config.cash was 1000, is 2000" in text
    assert 'config.commission was "0.1%", is not set' in text
    assert "config.short was not set, is true" in text
    assert "and 2 more" in text
    assert "\n" not in text
    assert content(tmp_path) == before


def test_only_the_run_id_differs(tmp_path: Path) -> None:
    """Where no setting tells the runs apart, the ids do."""
    bind(tmp_path, RUN)
    with pytest.raises(CheckpointMismatch, match='run_id was "aa11", is "bb22"'):
        bind(tmp_path, RUN | {"run_id": "bb22"})


def test_secrets_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that reached a manifest does not reach the message."""
    monkeypatch.delenv("MONGO_URI", raising=False)
    bind(tmp_path, RUN | {"mongo": "mongodb://me:hunter2@host/db"})
    with pytest.raises(CheckpointMismatch) as caught:
        bind(tmp_path, {"run_id": "bb22", "mongo": "mongodb://me:other99@host/db"})
    assert "hunter2" not in str(caught.value)
    assert "other99" not in str(caught.value)


@pytest.mark.parametrize("name", ["offsets", "commits", "metadata", "state"])
def test_a_checkpoint_without_a_manifest_is_refused(name: str, tmp_path: Path) -> None:
    """What Spark began without us is not taken over."""
    (tmp_path / name).mkdir()
    with pytest.raises(CheckpointMismatch, match=f"holds a checkpoint .{name}. without"):
        bind(tmp_path, RUN)
    assert not (tmp_path / MANIFEST).exists()


@pytest.mark.parametrize("damage", ["", '{"run_id": "aa', "[]", "{}", '{"run_id": 7}', "\ufffd"])
def test_a_damaged_manifest_is_refused(damage: str, tmp_path: Path) -> None:
    """A manifest that cannot be read is never overwritten."""
    (tmp_path / MANIFEST).write_text(damage)
    with pytest.raises(StateError, match="is damaged"):
        bind(tmp_path, RUN)
    assert (tmp_path / MANIFEST).read_text() == damage


def test_a_killed_first_start_leaves_no_half_manifest(tmp_path: Path) -> None:
    """A partial file of a killed start is no manifest; the next start writes its own."""
    (tmp_path / f"{MANIFEST}.partial").write_text('{"run_id')
    assert bind(tmp_path, RUN) is False
    assert list(content(tmp_path)) == [MANIFEST]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A checkpoint below a file is one clear error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        bind(tmp_path / "file" / "checkpoint", RUN)


def test_layout_and_versions_may_not_change(tmp_path: Path) -> None:
    """The same run under another version of what computes values, or cut otherwise, is refused."""
    run = RUN | {"layout": {"blocks": 1}, "versions": {"numpy": "2.1"}}
    bind(tmp_path, run)
    for name, value, said in (
        ("layout", {"blocks": 2}, "layout.blocks was 1, is 2"),
        ("versions", {"numpy": "2.2"}, 'versions.numpy was "2.1", is "2.2"'),
    ):
        with pytest.raises(CheckpointMismatch, match=said):
            bind(tmp_path, run | {name: value})


def mark(folder: Path, run: str = "aa11", engine: str = "spark", **places: str) -> Mark:
    """Return the mark of a run in a folder."""
    checkpoint = str(folder / "checkpoint") if engine == "spark" else None
    ledger = places.get("ledger", str(folder / "ledger"))
    return Mark(run, engine, str(folder), ledger, checkpoint)


def begin(own: Mark) -> None:
    """Let a run have written its first events."""
    put(own)
    write_deltalake(own.ledger, pa.table({"kind": ["fill"]}))


def test_a_folder_is_of_one_run_and_one_engine(tmp_path: Path) -> None:
    """The same run of the same engine goes on; another run, or engine, is refused by name."""
    begin(mark(tmp_path))
    require_own(mark(tmp_path))
    for other in (mark(tmp_path, "bb22"), mark(tmp_path, engine="local")):
        with pytest.raises(OutputError, match="holds the spark run aa11") as caught:
            require_own(other)
        assert f"this is the {other.engine} run {other.run_id}" in str(caught.value)


def test_a_run_that_has_written_nothing_holds_nothing(tmp_path: Path) -> None:
    """A first attempt that failed before its first batch does not take the folder for good."""
    put(mark(tmp_path))
    require_own(mark(tmp_path, "bb22"))
    (tmp_path / "checkpoint" / "offsets").mkdir(parents=True)
    (tmp_path / "checkpoint" / "offsets" / "0").touch()
    with pytest.raises(OutputError, match="holds the spark run"):
        require_own(mark(tmp_path, "bb22"))


def test_the_marks_say_it_whatever_else_is_there(tmp_path: Path) -> None:
    """Also where ledger and checkpoint are in other places, and of a run that has finished."""
    elsewhere = mark(tmp_path / "out", ledger=str(tmp_path / "ledger"))
    begin(elsewhere)
    assert (tmp_path / "ledger" / MARK).exists()
    with pytest.raises(OutputError, match="out holds the spark run"):
        require_own(mark(tmp_path / "out", "bb22"))
    with pytest.raises(OutputError, match="ledger holds the spark run"):
        require_own(mark(tmp_path / "other", ledger=str(tmp_path / "ledger")))


def test_another_folder_s_ledger_is_refused(tmp_path: Path) -> None:
    """A ledger inside a run's folder is that run's."""
    begin(mark(tmp_path / "out"))
    assert not (tmp_path / "out" / "ledger" / MARK).exists()
    other = mark(tmp_path / "other", ledger=str(tmp_path / "out" / "ledger"))
    with pytest.raises(OutputError, match=f"ledger holds the spark run aa11 in {tmp_path}/out,"):
        require_own(other)


def test_a_folder_below_a_run_is_its_own(tmp_path: Path) -> None:
    """Unless it is where that run has its ledger or its checkpoint, as a folder or as a ledger."""
    begin(mark(tmp_path))
    below = mark(tmp_path / "b", "bb22", engine="local")
    require_own(below)
    begin(below)
    require_own(below)
    require_own(mark(tmp_path))
    for name in ("ledger", "checkpoint"):
        place = tmp_path / name
        for other in (mark(place, "bb22"), mark(tmp_path / "c", "bb22", ledger=str(place))):
            with pytest.raises(OutputError, match=f"{name} holds the spark run aa11 in {tmp_path}"):
                require_own(other)


def test_a_folder_can_be_moved(tmp_path: Path) -> None:
    """Its mark holds where it is now, for its own run and against another one."""
    begin(mark(tmp_path / "out"))
    (tmp_path / "out").rename(tmp_path / "moved")
    require_own(mark(tmp_path / "moved"))
    with pytest.raises(OutputError, match="moved holds the spark run"):
        require_own(mark(tmp_path / "moved", "bb22"))


def test_a_damaged_mark_is_refused(tmp_path: Path) -> None:
    """What cannot be read is not taken over."""
    (tmp_path / MARK).write_text('{"run_id": "aa')
    with pytest.raises(StateError, match="is damaged"):
        require_own(mark(tmp_path))


def test_a_first_start_and_every_later_one_are_allowed(tmp_path: Path) -> None:
    """Whether the run died before Spark began or after it had planned a batch."""
    own = mark(tmp_path)
    assert claim(own, RUN).planned == -1
    assert claim(own, RUN).planned == -1
    assert claim(own, RUN | {"run_id": "bb22"}).planned == -1, "nothing was written yet"
    begin(own)
    with pytest.raises(OutputError, match="this is the local run"):
        require_own(mark(tmp_path, engine="local"))


def test_a_ledger_without_its_checkpoint_is_refused(tmp_path: Path) -> None:
    """A new checkpoint would write the same events into it again."""
    own = mark(tmp_path)
    write_deltalake(own.ledger, pa.table({"kind": ["fill"]}))
    with pytest.raises(CheckpointMismatch, match="but not of this checkpoint's query"):
        claim(own, RUN)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger"]


@pytest.mark.parametrize("where", ["ledger", "elsewhere"])
def test_a_local_run_overwrites_no_table_that_has_no_mark(tmp_path: Path, where: str) -> None:
    """A copied ledger says not whose it is; Spark refuses it for its checkpoint's sake."""
    own = mark(tmp_path / "out", engine="local", ledger=str(tmp_path / "out" / where))
    write_deltalake(own.ledger, pa.table({"kind": ["fill"]}))
    with pytest.raises(OutputError, match=f"{where} holds a table that no run") as caught:
        require_own(own)
    assert "choose another --ledger or --out, or delete it" in str(caught.value)
    put(own)
    require_own(own)


def test_a_ledger_beside_the_one_that_was_marked_is_refused(tmp_path: Path) -> None:
    """The folder is the run's, but this table is not what it has written."""
    begin(mark(tmp_path, engine="local", ledger=str(tmp_path / "first")))
    other = mark(tmp_path, engine="local")
    require_own(other)
    write_deltalake(other.ledger, pa.table({"kind": ["fill"]}))
    with pytest.raises(OutputError, match="ledger holds a table that no run"):
        require_own(other)
