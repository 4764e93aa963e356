"""Exports and their catalogue, against a real mongod."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from streambt_spark.core.market.bars import Bars
from streambt_spark.errors import ConfigError, NoData, OutputError, SourceNotFound, StoreError
from streambt_spark.stores import catalogue
from streambt_spark.stores.catalogue import entries, export, find
from streambt_spark.stores.generator import generate
from streambt_spark.stores.intake import check_source
from streambt_spark.stores.lake import Format, write_snapshot
from streambt_spark.stores.location import Location
from streambt_spark.stores.mongo import BarStore
from streambt_spark.stores.tables import bars_to_table
from tests.services.weed import S3Server
from tests.stores.test_lake import parts

pytestmark = pytest.mark.store


@pytest.fixture
def bars(store: BarStore) -> Bars:
    """Bars of three symbols, in the store."""
    made = generate(["A", "B", "C"], 50, gaps=0.1)
    store.ingest(check_source(bars_to_table(made), interval="1d"))
    return made


@pytest.mark.parametrize("form", ["delta", "parquet"])
def test_an_export_equals_the_store(
    tmp_path: Path, store: BarStore, bars: Bars, form: Format
) -> None:
    """The snapshot holds the store's bars, and the catalogue says what it holds."""
    snapshot = export(store, tmp_path, interval="1d", format=form, name="us")
    assert snapshot.path == str(tmp_path / "us" / "1")
    assert snapshot.bars().digest() == bars.digest()
    assert find(store, "us").snapshot == snapshot


def test_an_export_can_be_a_part(tmp_path: Path, store: BarStore, bars: Bars) -> None:
    """Symbols and a time range limit it."""
    start, end = int(bars.ts[30]), int(bars.ts[90])
    snapshot = export(store, tmp_path, interval="1d", symbols=["B"], start=start, end=end)
    expected = bars.take((bars.code == 1) & (bars.ts >= start) & (bars.ts < end))
    assert snapshot.digest == expected.digest()
    assert snapshot.symbols == ("B",)


def test_versions_grow_and_old_ones_stay(tmp_path: Path, store: BarStore, bars: Bars) -> None:
    """A later export is a new version; the earlier one is pinned."""
    first = export(store, tmp_path, interval="1d", name="us")
    more = generate(["A", "B", "C"], 60, gaps=0.1)
    store.ingest(check_source(bars_to_table(more), interval="1d"))
    second = export(store, tmp_path, interval="1d", name="us")
    assert [entry.version for entry in entries(store, "us")] == [1, 2]
    assert (find(store, "us", 1).snapshot, find(store, "us").snapshot) == (first, second)
    assert (first.bars().digest(), second.bars().digest()) == (bars.digest(), more.digest())


@pytest.mark.usefixtures("bars")
def test_exports_at_once_never_collide(tmp_path: Path, store: BarStore) -> None:
    """Eight exports in the same moment have eight versions and places."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: export(store, tmp_path, interval="1d"), range(8)))
    assert len({snapshot.path for snapshot in made}) == 8
    assert len(entries(store, "bars")) == 8


@pytest.mark.usefixtures("bars")
def test_no_bars_write_nothing(tmp_path: Path, store: BarStore) -> None:
    """NoData names what there is, and leaves neither folder nor entry."""
    with pytest.raises(NoData, match="it has: A, B, C"):
        export(store, tmp_path, interval="1d", symbols=["ZZ"])
    with pytest.raises(NoData):
        export(store, tmp_path, interval="1m")
    assert list(tmp_path.iterdir()) == []
    assert store.collection("snapshots").count_documents({}) == 0


@pytest.mark.usefixtures("bars")
def test_a_snapshot_that_differs_is_not_catalogued(
    tmp_path: Path, store: BarStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar that changes during the export makes it fail, with nothing left behind."""
    real = write_snapshot

    def then_change(batches: pa.RecordBatchReader, *arguments: object, **options: object) -> object:
        snapshot = real(batches, *arguments, **options)  # type: ignore[arg-type]
        rows = [{"symbol": "A", "ts": snapshot.max_ts, **dict.fromkeys(("open", "high", "low"), 1)}]
        rows[0] |= {"close": 1, "volume": 1}
        store.ingest(check_source(rows, interval="1d"))
        return snapshot

    monkeypatch.setattr(catalogue, "write_snapshot", then_change)
    with pytest.raises(StoreError, match="export again"):
        export(store, tmp_path, interval="1d", name="us")
    assert entries(store) == []
    assert not (tmp_path / "us" / "1").exists()


EXPORTER = """
import sys
from streambt_spark.stores import catalogue, lake
from streambt_spark.stores.mongo import BarStore

address, database, path, when = sys.argv[1:]

def pause(*_):
    print("exporting", flush=True)
    sys.stdin.readline()

def slowly(batches):
    for batch in batches:
        yield batch.slice(0, 5)
        pause()

lake._SAMPLE_ROWS = 1
write = catalogue.write_snapshot
if when == "in the midst":
    catalogue.write_snapshot = lambda batches, *a, **o: write(slowly(batches), *a, **o)
else:
    catalogue.open_snapshot = pause
with BarStore(address, database) as store:
    catalogue.export(store, path, interval="1d", name="us")
"""


@contextmanager
def exporter(mongod: str, store: BarStore, path: str, when: str) -> Iterator[subprocess.Popen[str]]:
    """Run another process that exports and waits at some point until it is killed."""
    database = store.collection("bars").database.name
    command = [sys.executable, "-c", EXPORTER, mongod, database, path, when]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "exporting\n"
        try:
            yield process
        finally:
            process.kill()


def listed(store: BarStore) -> list[tuple[int, str]]:
    """Return the versions in the catalogue and their status, of finished exports or not."""
    found = store.collection("snapshots").find({}, sort=[("version", 1)])
    return [(document["version"], document["status"]) for document in found]


@pytest.mark.parametrize("when", ["in the midst", "before the check"])
def test_a_killed_export_is_cleaned_up_by_the_next(
    tmp_path: Path, mongod: str, store: BarStore, bars: Bars, when: str
) -> None:
    """It leaves a folder and an entry; both go with the next export of the name, once it is dead.

    An export that is alive is left alone.
    """
    with exporter(mongod, store, str(tmp_path), when) as other:
        second = export(store, tmp_path, interval="1d", name="us")
        status = "writing" if when == "in the midst" else "written"
        assert (second.path, listed(store)) == (str(tmp_path / "us/2"), [(1, status), (2, "ready")])
        assert parts(tmp_path / "us" / "1")
        other.kill()
        other.wait()
    third = export(store, tmp_path, interval="1d", name="us")
    assert (third.path, listed(store)) == (str(tmp_path / "us/3"), [(2, "ready"), (3, "ready")])
    assert sorted(p.name for p in (tmp_path / "us").iterdir()) == ["2", "3"]
    assert third.digest == second.digest == bars.digest()


@pytest.mark.usefixtures("bars")
def test_a_killed_export_to_s3_is_cleaned_up(s3: S3Server, mongod: str, store: BarStore) -> None:
    """The same on S3, where nothing of it stays but the new snapshot."""
    path = f"s3a://{s3.bucket}/killed"
    with exporter(mongod, store, path, "in the midst") as other:
        other.kill()
        other.wait()
    assert export(store, path, interval="1d", name="us").path == f"{path}/us/1"
    assert listed(store) == [(1, "ready")]


@pytest.mark.usefixtures("bars")
def test_a_place_that_another_store_writes_is_left_alone(
    tmp_path: Path, mongod: str, store: BarStore
) -> None:
    """Where two stores export to one folder at once, the second is refused and deletes nothing."""
    with BarStore(mongod, "beside") as other:
        rows = bars_to_table(generate(["A"], 5))
        other.ingest(check_source(rows, interval="1d"))
        with exporter(mongod, store, str(tmp_path), "in the midst") as process:
            held = sorted(p.name for p in (tmp_path / "us" / "1").rglob("*"))
            with pytest.MonkeyPatch.context() as patch:
                look = Location.names  # as if both had looked for versions at the same moment
                patch.setattr(
                    Location, "names", lambda at: [] if at.text.endswith("/us") else look(at)
                )
                with pytest.raises(OutputError, match=f"being written by process {process.pid}"):
                    export(other, tmp_path, interval="1d", name="us")
            assert sorted(p.name for p in (tmp_path / "us" / "1").rglob("*")) == held
            assert process.poll() is None
        assert listed(other) == []


@pytest.mark.usefixtures("bars")
def test_names_are_checked_and_unknown_ones_named(tmp_path: Path, store: BarStore) -> None:
    """A name cannot leave the folder; a wrong one gets a hint."""
    with pytest.raises(ConfigError, match="not valid"):
        export(store, tmp_path, interval="1d", name="../out")
    export(store, tmp_path, interval="1d", name="stocks")
    with pytest.raises(SourceNotFound, match=r"did you mean stocks\?"):
        find(store, "stock")
    with pytest.raises(SourceNotFound, match="no version 9"):
        find(store, "stocks", 9)


@pytest.mark.usefixtures("bars")
def test_an_export_to_s3_is_read_back(s3: S3Server, store: BarStore, bars: Bars) -> None:
    """The same export works on a real S3 server."""
    snapshot = export(store, f"s3a://{s3.bucket}/lake", interval="1d", name="us")
    assert snapshot.path == f"s3a://{s3.bucket}/lake/us/1"
    assert find(store, "us").snapshot.bars().digest() == bars.digest()
