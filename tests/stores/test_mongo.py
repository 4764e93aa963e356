"""The system of record, against a real mongod."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pymongo.errors import AutoReconnect, DuplicateKeyError

from streambt_spark.errors import ConfigError, DataError, StoreError, StoreUnavailable
from streambt_spark.stores import mongo
from streambt_spark.stores.embedded import free_port
from streambt_spark.stores.generator import generate
from streambt_spark.stores.intake import Counts, check_source, intake
from streambt_spark.stores.mongo import BarStore
from streambt_spark.stores.tables import bars_to_table, table_to_bars

pytestmark = pytest.mark.store
DAY = 1_577_923_200_000_000  # 2020-01-02T00:00Z


def row(**values: Any) -> dict[str, Any]:
    """Return a valid daily bar with other values in some places."""
    bar = {"symbol": "A", "session": "2020-01-02", "open": 1, "high": 9, "low": 1, "close": 2}
    return {**bar, "volume": 10, **values}


def put(store: BarStore, *rows: dict[str, Any]) -> Counts:
    """Ingest daily rows."""
    return store.ingest(check_source(list(rows), interval="1d", allow_rejected=True))


def closes(store: BarStore) -> list[float]:
    """Return the closes of all stored daily bars."""
    return [c for batch in store.read("1d") for c in batch["close"].to_pylist()]


def past(store: BarStore) -> list[tuple[int, float]]:
    """Return the revision numbers and closes that A's bar had before."""
    return [(d["revision"], d["close"]) for d in store.revisions("A", "1d", DAY)]


def test_bars_come_back_as_they_went_in(store: BarStore) -> None:
    """Every field survives, ordered by (ts, symbol) over many pages."""
    bars = generate(["B", "A"], 200, "1m", gaps=0.2)
    store.ingest(check_source(bars_to_table(bars), interval="1m"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mongo, "_PAGE_ROWS", 7)
        batches = list(store.read("1m"))
    assert len(batches) == -(-len(bars) // 7)
    assert sum(batch.num_rows for batch in batches) == len(bars) == store.count("1m")
    back = pa.Table.from_batches(batches)
    assert back.equals(bars_to_table(bars))
    assert table_to_bars(back, "1m").digest() == bars.digest()


def test_the_natural_key_is_unique(store: BarStore) -> None:
    """The index refuses a second bar of one symbol, interval and time."""
    put(store, row())
    index = store.collection("bars").index_information()["natural_key"]
    assert (index["key"], index["unique"]) == ([("symbol", 1), ("interval", 1), ("ts", 1)], True)
    with pytest.raises(DuplicateKeyError):
        store.collection("bars").insert_one({"symbol": "A", "interval": "1d", "ts": DAY})


def test_the_same_bars_again_are_duplicates(store: BarStore) -> None:
    """A second ingest of one source adds nothing."""
    bars = generate(5, 300, gaps=0.1)
    source = bars_to_table(bars)
    first = store.ingest(check_source(source, interval="1d"))
    again = store.ingest(check_source(source, interval="1d"))
    assert first == Counts(read=len(bars), accepted=len(bars))
    assert again == Counts(read=len(bars), duplicate=len(bars))
    assert store.count("1d") == len(bars)


def test_a_changed_bar_is_a_revision_and_the_old_one_is_kept(store: BarStore) -> None:
    """Each change keeps the old values under their number."""
    assert put(store, row()) == Counts(read=1, accepted=1)
    assert put(store, row(close=3)) == Counts(read=1, accepted=1, revised=1)
    assert put(store, row(close=2)) == Counts(read=1, accepted=1, revised=1)
    assert (closes(store), past(store)) == ([2], [(0, 2), (1, 3)])


def test_revisions_inside_a_source_are_kept_and_safe_to_repeat(store: BarStore) -> None:
    """A source that corrects itself gives the same store however often it is taken in."""
    rows = [row(), row(close=3), row(close=3), row(close=4), row(symbol="B")]
    assert put(store, *rows) == Counts(read=5, accepted=4, duplicate=1, revised=2)
    assert (closes(store), past(store)) == ([4, 2], [(0, 2), (1, 3)])
    assert put(store, *rows) == Counts(read=5, duplicate=5)
    assert (closes(store), past(store)) == ([4, 2], [(0, 2), (1, 3)])


def test_an_unseen_row_before_the_stored_one_is_kept_once(store: BarStore) -> None:
    """With 2 stored, 3 then 2 are two revisions the first time and duplicates afterwards."""
    put(store, row())
    rows = [row(close=3), row(close=2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BarStore, "_change", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            put(store, *rows)
    assert put(store, *rows) == Counts(read=2, accepted=2, revised=2)
    assert (closes(store), past(store)) == ([2], [(0, 2), (1, 3)])
    assert put(store, *rows) == Counts(read=2, duplicate=2)
    assert (closes(store), past(store)) == ([2], [(0, 2), (1, 3)])
    again = [row(close=2), row(close=4), row(close=2)]
    assert put(store, *again) == Counts(read=3, accepted=2, duplicate=1, revised=2)
    assert put(store, *again) == Counts(read=3, duplicate=3)
    assert put(store, *rows, *again) == Counts(read=5, duplicate=5)


@pytest.mark.parametrize(
    ("moment", "before", "again"),
    [
        ("_change", ([2], []), Counts(read=1, accepted=1, revised=1)),
        ("_others", ([3], [(0, 2)]), Counts(read=1, duplicate=1)),
    ],
)
def test_a_crash_about_a_revision_loses_nothing(
    store: BarStore, moment: str, before: tuple[list[float], list[Any]], again: Counts
) -> None:
    """A revision is one change of one document: it was made, or it is made when done again."""
    put(store, row())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BarStore, moment, _interrupt_where_used)
        with pytest.raises(KeyboardInterrupt):
            put(store, row(close=3))
    assert (closes(store), past(store)) == before
    assert put(store, row(close=3)) == again
    assert (closes(store), past(store)) == ([3], [(0, 2)])


WRITER = """
import sys
from streambt_spark.stores.intake import check_source
from streambt_spark.stores.mongo import BarStore

address, database, first = sys.argv[1:]
bar = {"symbol": "A", "open": 1, "high": 99999, "low": 1, "volume": 1}
days = [f"2020-01-{day:02}" for day in range(2, 12)]
with BarStore(address, database) as store:
    sys.stdin.readline()
    for close in range(int(first), int(first) + 20):
        rows = [{**bar, "session": day, "close": close} for day in days]
        rows += [{**bar, "session": day, "close": close + 0.5} for day in days]
        store.ingest(check_source(rows, interval="1d"))
print("done")
"""


def test_ingests_at_once_lose_no_revision(mongod: str, store: BarStore) -> None:
    """Three processes that revise the same ten bars at the same time: whatever each of them wrote
    is there, either as what a bar is or as what it was before, and the numbers have no gap.
    """
    name = store.collection("bars").database.name
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, mongod, name, str(first)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for first in (1_000, 2_000, 3_000)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert [writer.communicate(timeout=120)[0] for writer in writers] == ["done\n"] * 3
    written = {first + n / 2 for first in (1_000, 2_000, 3_000) for n in range(40)}
    assert store.count("1d") == 10
    for day in range(10):
        old = store.revisions("A", "1d", DAY + day * 86_400_000_000)
        now = closes(store)[day]
        assert {*(d["close"] for d in old), now} == written
        assert [d["revision"] for d in old] == list(range(len(old)))


def test_a_key_may_be_split_over_parts_of_a_source(store: BarStore) -> None:
    """Rows of one key that do not come together are revisions the first time only."""
    rows = [row(), row(symbol="B"), row(close=3), row(symbol="C"), row(close=4), row(close=3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mongo, "_CHUNK_ROWS", 1)
        assert put(store, *rows) == Counts(read=6, accepted=6, revised=3)
        for _ in range(2):
            assert put(store, *rows) == Counts(read=6, duplicate=6)
    assert put(store, *rows) == Counts(read=6, duplicate=6)
    assert past(store) == [(0, 2), (1, 3), (2, 4)]
    assert put(store, row(close=4)) == Counts(read=1, accepted=1, revised=1)
    assert past(store) == [(0, 2), (1, 3), (2, 4), (3, 3)]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _interrupt_where_used(_: BarStore, keys: Any, *__: object) -> set[Any]:
    if keys:
        raise KeyboardInterrupt
    return set()


def test_a_lost_reply_counts_bars_once(store: BarStore) -> None:
    """A write that succeeded though its answer was lost is accepted, not a duplicate."""
    bars = store.collection("bars")
    real, failures = type(bars).bulk_write, iter([True])

    def loses_reply(self: Any, *arguments: Any, **options: Any) -> Any:
        result = real(self, *arguments, **options)
        if next(failures, False):
            raise AutoReconnect("reply lost")
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bars), "bulk_write", loses_reply)
        assert put(store, row(), row(symbol="B")) == Counts(read=2, accepted=2)
    assert store.count("1d") == 2


def test_bad_rows_are_quarantined_once(store: BarStore) -> None:
    """A refused row is kept with its reason; the same source again adds no second one."""
    rows = [row(), row(close=-1), row(volume="x")]
    for expected in (Counts(3, 1, 0, 0, 2), Counts(3, 0, 1, 0, 2)):
        assert put(store, *rows) == expected
    kept = [(d["row"], d["reason"], d["symbol"], d["ts"]) for d in store.quarantined("1d")]
    assert kept == [(2, "non_positive_price", "A", DAY), (3, "bad_number", "A", DAY)]


def test_an_intake_can_be_stored_too(store: BarStore, market: Path) -> None:
    """Bars in memory are taken in with the counts adding up, in less than one trip a bar."""
    taken = intake(market / "us_daily.csv.gz", interval="1d")
    assert store.ingest(taken) == Counts(read=29_245, accepted=29_245)
    assert store.symbols("1d") == ["AAPL", "AIG", "BAC", "IBM", "SPY"]


def test_ranges_and_symbols_select(store: BarStore) -> None:
    """start ≤ ts < end, of the wanted symbols only, in count and read."""
    bars = generate(["A", "B", "C"], 10)
    store.ingest(check_source(bars_to_table(bars), interval="1d"))
    start, end = int(bars.ts[3]), int(bars.ts[12])
    assert store.count("1d", ["A", "C"], start, end) == 6
    found = [s for batch in store.read("1d", ["A", "C"], start, end) for s in batch["symbol"]]
    assert [s.as_py() for s in found] == ["A", "C"] * 3


@pytest.mark.parametrize("symbol", ["$ne", {"$gt": ""}, "a", "A\nB", ""])
def test_filters_take_valid_symbols_only(store: BarStore, symbol: Any) -> None:
    """Nothing but a symbol can reach a query."""
    with pytest.raises(DataError, match="not valid"):
        store.count("1d", [symbol])


def test_two_databases_of_one_server_are_apart(mongod: str, store: BarStore) -> None:
    """Stores hold no shared state."""
    put(store, row())
    with BarStore(mongod, "another") as other:
        assert other.count("1d") == 0


def test_an_unreachable_server_ends_in_time_and_without_the_password() -> None:
    """Retries are bounded, and the message shows the address masked."""
    address = f"mongodb://joe:canary%40pass@127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"mongodb://\*\*\*@127") as caught:
        BarStore(address, timeout=1).__enter__()
    assert time.monotonic() - began < 10
    assert "canary" not in str(caught.value)
    assert caught.value.exit_code == 75


def test_a_refusing_server_is_a_store_error(mongod: str) -> None:
    """Wrong credentials are named, without the password."""
    with pytest.raises(StoreError, match="refused") as caught:
        BarStore(mongod.replace("://", "://joe:canary@")).__enter__()
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), 1e300])
def test_a_timeout_is_a_time(seconds: float) -> None:
    """A number of seconds that is none is refused by name."""
    with pytest.raises(
        ConfigError, match=r"timeout is .*; expected seconds above 0, at most 86400"
    ):
        BarStore("mongodb://host", timeout=seconds)


def test_an_address_that_is_none_is_a_config_error() -> None:
    """A malformed address is refused at once."""
    with pytest.raises(ConfigError, match="not understood"):
        BarStore("http://joe:canary@host")


@pytest.mark.parametrize("login", ["joe:canary/4711", "joe:1234/canary", "joe:1234/4711/canary"])
def test_a_slash_in_a_login_is_refused_without_it(login: str) -> None:
    """pymongo would take the login for a host and a database, and quote the password."""
    with pytest.raises(ConfigError) as caught:
        BarStore(f"mongodb://{login}@host/")
    assert str(caught.value) == (
        "MongoDB address mongodb://***@host/ is not understood: a / in the user or password must "
        "be written %2F; write mongodb://host:27017"
    )


def test_a_space_in_a_login_is_masked_too() -> None:
    """pymongo takes such an address; the message ends the login at the last @ all the same."""
    with pytest.raises(StoreUnavailable, match=r"MongoDB at mongodb://\*\*\*@127") as caught:
        BarStore(f"mongodb://joe:canary 4711@127.0.0.1:{free_port()}", timeout=1).__enter__()
    assert "canary" not in str(caught.value)


def test_a_killed_ingest_is_completed_by_the_next(mongod: str, store: BarStore) -> None:
    """SIGKILL in the middle leaves whole bars; ingesting again ends in exactly the source."""
    name = store.collection("bars").database.name
    code = (
        "from streambt_spark.stores.mongo import BarStore\n"
        "from streambt_spark.stores.generator import generate\n"
        "from streambt_spark.stores.intake import check_source\n"
        "from streambt_spark.stores.tables import bars_to_table\n"
        f"with BarStore({mongod!r}, {name!r}) as store:\n"
        "    store.ingest(check_source(bars_to_table(generate(20, 5000, '1m')), interval='1m'))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not store.count("1m") and time.monotonic() < deadline:
        assert child.poll() is None
    child.kill()
    child.wait()
    assert 0 < store.count("1m") < 100_000
    bars = generate(20, 5000, "1m")
    counts = store.ingest(check_source(bars_to_table(bars), interval="1m"))
    assert counts.read == counts.accepted + counts.duplicate == len(bars) == store.count("1m")
