"""Exports and their catalogue, against a real mongod."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from streambt_spark.core.market.bars import Bars
from streambt_spark.errors import ConfigError, NoData, SourceNotFound, StoreError
from streambt_spark.stores import catalogue
from streambt_spark.stores.catalogue import entries, export, find
from streambt_spark.stores.generator import generate
from streambt_spark.stores.intake import check_source
from streambt_spark.stores.lake import Format, write_snapshot
from streambt_spark.stores.mongo import BarStore
from streambt_spark.stores.tables import bars_to_table
from tests.services.weed import S3Server

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
