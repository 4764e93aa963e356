"""Snapshots on a local folder and on a real S3 server."""

from __future__ import annotations

import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from streambt_spark.core.market.bars import Bars
from streambt_spark.errors import (
    BadColumns,
    ConfigError,
    DataError,
    NoData,
    OutputError,
    SourceNotFound,
    StoreUnavailable,
)
from streambt_spark.stores import lake
from streambt_spark.stores.files import choose_grain, period_of
from streambt_spark.stores.generator import generate
from streambt_spark.stores.lake import (
    BAR_SCHEMA,
    Format,
    bars_to_batches,
    open_snapshot,
    write_snapshot,
)
from tests.services.disk import on_a_small_disk
from tests.services.weed import S3Server

FORMATS: tuple[Format, ...] = ("delta", "parquet")
MINUTE = 60_000_000


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> Format:
    """Each format in turn."""
    chosen: Format = request.param
    return chosen


@pytest.fixture
def bars() -> Bars:
    """Three symbols with gaps over 400 minutes."""
    return generate(["C", "A", "B"], 400, "1m", gaps=0.2)


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut files and row groups small, so that a few bars fill several."""
    monkeypatch.setattr("streambt_spark.stores.files.FILE_ROWS", 150)
    monkeypatch.setattr("streambt_spark.stores.files.GROUP_ROWS", 40)


def keys(batches: Iterator[pa.RecordBatch]) -> list[tuple[str, int]]:
    """Return the (symbol, ts in µs) of batches."""
    pairs: list[tuple[str, int]] = []
    for batch in batches:
        pairs.extend(
            zip(batch["symbol"].to_pylist(), batch["ts"].cast("int64").to_pylist(), strict=True)
        )
    return pairs


def test_a_snapshot_holds_its_bars_and_says_so(tmp_path: Path, bars: Bars, form: Format) -> None:
    """What was written is read back, with the digest the bars have in memory."""
    snapshot = write_snapshot(
        bars_to_batches(bars, 100), tmp_path / "s", interval="1m", format=form
    )
    assert snapshot == open_snapshot(tmp_path / "s") == pickle.loads(pickle.dumps(snapshot))  # noqa: S301
    assert snapshot.digest == bars.digest() == snapshot.bars().digest()
    assert (snapshot.rows, snapshot.symbols, snapshot.format) == (len(bars), ("A", "B", "C"), form)
    assert (snapshot.min_ts, snapshot.max_ts) == (bars.ts.min(), bars.ts.max())
    assert snapshot.table().schema.equals(BAR_SCHEMA)
    assert snapshot.slices().tolist() == np.unique(bars.ts).tolist()


@pytest.mark.parametrize(
    ("rows", "symbols", "bars_each"),
    [
        (1_000_000, "ABC", (323, 319, 311)),
        (320, "A", (320,)),
        (40, "A", (40,)),
        (650, "AC", (323, 311)),
    ],
)
def test_the_first_bars_are_of_symbols_evenly_chosen(
    tmp_path: Path, bars: Bars, rows: int, symbols: str, bars_each: tuple[int, ...]
) -> None:
    """All where they are few; of the chosen ones the first, to the bit."""
    snapshot = write_snapshot(bars_to_batches(bars, 100), tmp_path / "s", interval="1m")
    found = snapshot.first(rows)
    assert "".join(found.symbols) == symbols
    assert tuple(np.bincount(found.code)) == bars_each
    ordered = bars.sorted()
    chosen = ordered.take(np.isin(ordered.code, [bars.symbols.index(s) for s in symbols]))
    assert found.ts.tolist() == chosen.ts[: len(found)].tolist()
    assert found.close.tolist() == chosen.close[: len(found)].tolist()


def test_other_bars_at_the_same_path_are_other_bars(
    tmp_path: Path, bars: Bars, form: Format
) -> None:
    """In one process a folder may be deleted and written anew; the old snapshot then says so."""
    path = tmp_path / "s"
    old = write_snapshot(bars_to_batches(bars), path, interval="1m", format=form)
    assert keys(old.read()) == keys(iter(bars_to_batches(bars)))
    shutil.rmtree(path)
    fewer = bars.take(slice(0, 7))
    new = write_snapshot(bars_to_batches(fewer), path, interval="1m", format=form)
    assert (new.rows, new.digest) == (7, fewer.digest())
    assert keys(new.read()) == keys(iter(bars_to_batches(fewer)))
    with pytest.raises(DataError, match="replaced by other bars"):
        list(old.read())


def test_a_delta_snapshot_is_a_delta_table(tmp_path: Path, bars: Bars) -> None:
    """Any Delta reader sees the rows, and the commit names rows and times for each file."""
    write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m")
    table = DeltaTable(tmp_path / "s")
    assert table.to_pyarrow_table().num_rows == len(bars)
    assert table.version() == 0
    assert pa.table(table.get_add_actions())["num_records"].to_pylist() == [len(bars)]


@pytest.mark.usefixtures("small_files")
def test_a_range_and_symbols_select_exactly(tmp_path: Path, bars: Bars, form: Format) -> None:
    """start ≤ ts < end holds to the microsecond over many files and row groups."""
    snapshot = write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m", format=form)
    assert len(list((tmp_path / "s").rglob("*.parquet"))) == -(-len(bars) // 150)
    start, end = snapshot.min_ts + 100 * MINUTE, snapshot.min_ts + 250 * MINUTE
    wanted = [
        (bars.symbols[c], t)
        for c, t in zip(bars.code.tolist(), bars.ts.tolist(), strict=True)
        if start <= t < end and bars.symbols[c] != "B"
    ]
    assert keys(snapshot.read(start, end, ["A", "C"])) == wanted
    assert keys(snapshot.read(end, start)) == []


@pytest.mark.usefixtures("small_files")
def test_files_outside_the_range_are_not_opened(tmp_path: Path, bars: Bars, form: Format) -> None:
    """A slice is read though every file that cannot hold it is gone."""
    snapshot = write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m", format=form)
    first = min((tmp_path / "s").rglob("*.parquet"))
    for file in (tmp_path / "s").rglob("*.parquet"):
        if file != first:
            file.unlink()
    end = snapshot.min_ts + 5 * MINUTE
    assert len(keys(snapshot.read(None, end))) == int(np.sum(bars.ts < end))


def parts(root: Path) -> list[Path]:
    """Return a snapshot's data files in order."""
    return sorted(root.rglob("*.parquet"))


def flip(path: Path, at: float) -> None:
    """Change one bit, `at` of the way through a file."""
    content = bytearray(path.read_bytes())
    content[min(int(at * len(content)), len(content) - 1)] ^= 1
    path.write_bytes(content)


def refused(path: Path) -> str:
    """Return what is said when the bars of a damaged snapshot are read."""
    with pytest.raises(DataError) as caught:
        open_snapshot(path).bars()
    return str(caught.value)


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("at", [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1])
def test_one_wrong_bit_is_never_read(tmp_path: Path, bars: Bars, form: Format, at: float) -> None:
    """A bit that has changed anywhere in a data file refuses it by name, with the way out."""
    write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m", format=form)
    flip(parts(tmp_path / "s")[1], at)
    told = refused(tmp_path / "s")
    assert told.startswith(f"{parts(tmp_path / 's')[1]} is not the file that was exported: ")
    assert told.endswith("restore it from a copy, or export the bars again")


def test_all_of_a_snapshot_can_be_verified(tmp_path: Path, form: Format) -> None:
    """Each of five bits spread over 2 MB is found without reading a row."""
    bars = generate(20, 6_000, "1m")
    snapshot = write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m", format=form)
    snapshot.verify()
    for at in (0, 0.3, 0.6, 0.97, 1):
        flip(parts(tmp_path / "s")[0], at)
        with pytest.raises(DataError, match=r"part-00000.*is not the file that was exported"):
            snapshot.verify()
        flip(parts(tmp_path / "s")[0], at)
    snapshot.verify()


@pytest.mark.usefixtures("small_files")
def test_each_batch_read_was_verified(tmp_path: Path, bars: Bars) -> None:
    """What comes before the damaged block is right, and not a row of it is given."""
    snapshot = write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m")
    flip(parts(tmp_path / "s")[1], 0.5)
    read = snapshot.read()
    assert keys(next(read) for _ in range(4)) == keys(iter(bars_to_batches(bars)))[:150]
    with pytest.raises(DataError, match="part-00001"):
        next(read)


@pytest.mark.usefixtures("small_files")
def test_other_files_in_place_of_a_snapshots_are_refused(
    tmp_path: Path, bars: Bars, form: Format
) -> None:
    """A file that is gone, cut off, longer, exchanged with its neighbour or written by another."""
    for case in ("gone", "cut", "longer", "exchanged", "rewritten"):
        root = tmp_path / case
        write_snapshot(bars_to_batches(bars), root, interval="1m", format=form)
        first, second = parts(root)[:2]
        content = first.read_bytes()
        if case == "gone":
            first.unlink()
        elif case == "cut":
            first.write_bytes(content[:-100])
        elif case == "longer":
            first.write_bytes(content + b"more")
        elif case == "exchanged":
            first.write_bytes(second.read_bytes())
            second.write_bytes(content)
        else:
            pq.write_table(pq.ParquetFile(first).read(), first)
        assert refused(root).startswith(f"{first} is not the file that was exported: "), case


def test_a_changed_commit_is_refused(tmp_path: Path, bars: Bars, form: Format) -> None:
    """A bit of what the commit says of the bars is verified as they are."""
    write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m", format=form)
    name = "_manifest.json" if form == "parquet" else "_delta_log/00000000000000000000.json"
    file = tmp_path / "s" / name
    sound = file.read_bytes()
    for old, new in ((b"max_ts", b"max_tz"), (b'"A', b'"D'), (b"A\\", b"D\\"), (b"{", b"[")):
        changed = sound.replace(old, new)
        if changed == sound:
            continue
        file.write_bytes(changed)
        with pytest.raises(DataError, match="is damaged") as caught:
            open_snapshot(tmp_path / "s")
        assert str(file) in str(caught.value)
    file.write_bytes(sound)
    assert open_snapshot(tmp_path / "s").bars().digest() == bars.digest()


def test_what_other_programs_leave_is_ignored(tmp_path: Path, bars: Bars, form: Format) -> None:
    """Checksums, marks and a broken hint of a checkpoint beside a snapshot change nothing."""
    write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m", format=form)
    (tmp_path / "s" / "_delta_log").mkdir(exist_ok=True)
    for name in ("_SUCCESS", ".part.crc", "_delta_log/_last_checkpoint", "period=all/x.parquet"):
        (tmp_path / "s" / name).write_text("junk")
    assert open_snapshot(tmp_path / "s").bars().digest() == bars.digest()


def test_columns_are_chosen_and_unknown_ones_named(tmp_path: Path, bars: Bars) -> None:
    """Only the wanted columns come, in the wanted order, as BAR_SCHEMA types them."""
    snapshot = write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m")
    batch = next(snapshot.read(columns=["close", "symbol"]))
    assert batch.schema.equals(pa.schema([BAR_SCHEMA.field("close"), BAR_SCHEMA.field("symbol")]))
    with pytest.raises(BadColumns, match="wap"):
        next(snapshot.read(columns=["wap"]))


def test_an_existing_snapshot_is_never_touched(tmp_path: Path, bars: Bars, form: Format) -> None:
    """Writing where a snapshot or anything else is raises and changes nothing."""
    write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m", format=form)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with pytest.raises(OutputError, match="already holds"):
        write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(OutputError, match=r"not empty \(notes.txt"):
        write_snapshot(bars_to_batches(bars), tmp_path / "mine", interval="1m")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


WRITER = """
import signal, sys
from streambt_spark.stores import lake
from streambt_spark.stores.generator import generate

lake._SAMPLE_ROWS = 10
batches = lake.bars_to_batches(generate(["A"], 1000, "1m"), 100)

def some():
    for _ in range(5):
        yield next(batches)
    print("writing", flush=True)
    sys.stdin.readline()
    yield from batches

lake.write_snapshot(some(), sys.argv[1], interval="1m", format=sys.argv[2])
"""


@contextmanager
def writer(path: Path | str, form: Format) -> Iterator[subprocess.Popen[str]]:
    """Run another process that is in the midst of writing a snapshot until it gets a line."""
    command = [sys.executable, "-c", WRITER, str(path), form]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_writer_is_refused(tmp_path: Path, bars: Bars, form: Format) -> None:
    """While a snapshot is being written, nobody else writes there; who does is told."""
    with writer(tmp_path / "s", form) as other:
        with pytest.raises(OutputError) as caught:
            write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m", format=form)
        told = str(caught.value)
        who = (
            f"{tmp_path}/s is being written by process {other.pid} on {socket.gethostname()} since"
        )
        assert told.startswith(f"{who} {datetime.now(UTC):%Y}-")
        assert told.endswith(
            "; wait until it is done, or choose another path; if that process does not exist any "
            f"more, delete {tmp_path}/s/_writing-1"
        )
        assert other.communicate("go\n", timeout=60) == ("", None)
    assert other.returncode == 0
    assert open_snapshot(tmp_path / "s").bars().digest() == generate(["A"], 1000, "1m").digest()
    assert not list((tmp_path / "s").glob("_writing*"))


def test_of_writers_at_once_one_writes(tmp_path: Path, form: Format) -> None:
    """Six threads that begin together give one whole snapshot, of one of them."""
    sets = [generate(["A"], n, "1m") for n in range(1001, 1007)]
    begin = Barrier(len(sets))

    def write(bars: Bars) -> str:
        begin.wait()
        try:
            batches = bars_to_batches(bars, 100)
            return write_snapshot(batches, tmp_path / "s", interval="1m", format=form).digest
        except OutputError as error:
            return str(error)

    with ThreadPoolExecutor(len(sets)) as pool:
        told = list(pool.map(write, sets))
    written = open_snapshot(tmp_path / "s").bars().digest()
    assert [text for text in told if len(text) == 64] == [written]
    refusals = [text for text in told if len(text) != 64]
    assert all("is being written by" in t or "already holds" in t for t in refusals)


def test_a_killed_writers_leftover_is_rewritten(tmp_path: Path, bars: Bars, form: Format) -> None:
    """Without a commit there is no snapshot, and the next writer starts afresh."""
    with writer(tmp_path / "s", form) as other:
        other.kill()
        other.wait()
    assert parts(tmp_path / "s")
    assert (tmp_path / "s" / "_writing-1").exists()
    with pytest.raises(SourceNotFound):
        open_snapshot(tmp_path / "s")
    snapshot = write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m", format=form)
    assert snapshot.bars().digest() == bars.digest()
    assert len(parts(tmp_path / "s")) == 1
    assert not list((tmp_path / "s").glob("_writing*"))


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path, bars: Bars, form: Format) -> None:
    """After an error in the midst the folder is as before, and can be written again."""

    def fails() -> Iterator[pa.RecordBatch]:
        yield from bars_to_batches(bars.take(slice(0, 100)))
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake, "_SAMPLE_ROWS", 10)
        with pytest.raises(KeyboardInterrupt):
            write_snapshot(fails(), tmp_path / "s", interval="1m", format=form)
    assert not (tmp_path / "s").exists()
    snapshot = write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m", format=form)
    assert snapshot.bars().digest() == bars.digest()


def test_no_rows_write_nothing(tmp_path: Path) -> None:
    """NoData leaves no folder behind."""
    with pytest.raises(NoData):
        write_snapshot([], tmp_path / "s", interval="1m")
    assert not (tmp_path / "s").exists()


def test_rows_out_of_order_are_refused(tmp_path: Path, bars: Bars) -> None:
    """A repeated or earlier key inside or between batches is an error, and no snapshot."""
    batch = next(bars_to_batches(bars))
    for parts in ([batch, batch], [batch.slice(10), batch.slice(0, 10)], [batch.take([1, 0])]):
        with pytest.raises(DataError, match="not strictly ascending"):
            write_snapshot(parts, tmp_path / "s", interval="1m")
        with pytest.raises(SourceNotFound):
            open_snapshot(tmp_path / "s")


def test_another_programs_changes_do_not_enter(tmp_path: Path, bars: Bars) -> None:
    """Rows deleted by another program leave the snapshot as it was; its version is not one."""
    write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m")
    table = DeltaTable(tmp_path / "s")
    table.delete("symbol = 'A'")
    assert open_snapshot(tmp_path / "s").bars().digest() == bars.digest()
    with pytest.raises(SourceNotFound, match="it never changes, and has version 0 only"):
        open_snapshot(tmp_path / "s", version=table.version())


def test_missing_places_and_formats_are_named(tmp_path: Path, bars: Bars) -> None:
    """No snapshot, no such version, no such format or scheme: each its own error."""
    write_snapshot(bars_to_batches(bars), tmp_path / "s", interval="1m")
    with pytest.raises(SourceNotFound, match="no snapshot at"):
        open_snapshot(tmp_path / "none")
    with pytest.raises(SourceNotFound, match="version 7"):
        open_snapshot(tmp_path / "s", version=7)
    with pytest.raises(ConfigError, match=r"'ftp://\*\*\*@host/s' is not understood"):
        open_snapshot("ftp://u:canary@host/s")
    with pytest.raises(ConfigError, match="'csv'"):
        write_snapshot([], tmp_path / "t", interval="1m", format="csv")  # type: ignore[arg-type]


def test_an_unwritable_folder_is_an_output_error(tmp_path: Path, bars: Bars) -> None:
    """A path below a file cannot be made."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose"):
        write_snapshot(bars_to_batches(bars), tmp_path / "file" / "s", interval="1m")


ON_A_SMALL_DISK = """
import sys
from streambt_spark.errors import StreambtError
from streambt_spark.stores.generator import generate
from streambt_spark.stores.lake import bars_to_batches, write_snapshot

try:
    bars = generate(5, 20_000, "1m")
    write_snapshot(bars_to_batches(bars), sys.argv[1], interval="1m", format=sys.argv[2])
except StreambtError as error:
    print(type(error).__name__, error, sep=": ")
"""


def test_a_full_disk_is_told(tmp_path: Path, form: Format) -> None:
    """Where a snapshot does not fit, the error says that the disk is full, and where."""
    done = on_a_small_disk(tmp_path, "1m", ON_A_SMALL_DISK, str(tmp_path / "s"), form)
    assert done.stdout.startswith(f"OutputError: cannot write {tmp_path}/s: the disk is full ("), (
        done
    )
    assert done.stdout.endswith(" free); free some space, or choose a folder on another disk\n")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("rows", "days", "grain"),
    [
        (600_000, 0.2, "day"),
        (300_000, 7.0, "month"),
        (300_000, 60.0, "year"),
        (300_000, 5_000.0, "all"),
    ],
)
def test_the_grain_fits_the_density(rows: int, days: float, grain: str) -> None:
    """The finest period that holds half a million rows is chosen, never below a day."""
    assert choose_grain(rows, 0, int(days * 86_400_000_000)) == grain


def test_periods_are_named_by_their_date() -> None:
    """2024-03-05T23:59Z lies in that day, month and year."""
    ts = 1_709_683_140_000_000
    assert [period_of(ts, g) for g in ("day", "month", "year")] == ["2024-03-05", "2024-03", "2024"]


def test_each_period_is_a_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars over a month's end go into two folders, cut exactly there."""
    monkeypatch.setattr(lake, "_SAMPLE_ROWS", 10)
    monkeypatch.setattr("streambt_spark.stores.files.SMALL_FILE_ROWS", 3)
    bars = generate(["A"], 40, "1d")
    snapshot = write_snapshot(bars_to_batches(bars, 7), tmp_path / "s", interval="1d")
    folders = {p.parent.name: pq.read_metadata(p).num_rows for p in tmp_path.rglob("*.parquet")}
    assert folders == {"period=2020-01": 31, "period=2020-02": 9}
    assert snapshot.bars().digest() == bars.digest()


@pytest.mark.store
@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_s3_holds_snapshots_like_a_folder(
    s3: S3Server, bars: Bars, form: Format, scheme: str
) -> None:
    """On a real S3 server a snapshot is written, refused a second time, and read in ranges."""
    path = f"{scheme}://{s3.bucket}/snapshots/{scheme}-{form}"
    snapshot = write_snapshot(bars_to_batches(bars), path, interval="1m", format=form)
    assert snapshot.path == path
    assert open_snapshot(path).bars().digest() == bars.digest() == snapshot.digest
    start, end = snapshot.min_ts + 100 * MINUTE, snapshot.min_ts + 101 * MINUTE
    assert len(keys(snapshot.read(start, end))) == int(np.sum(bars.ts == start))
    with pytest.raises(OutputError, match="already holds"):
        write_snapshot(bars_to_batches(bars), path, interval="1m", format=form)


@pytest.mark.store
def test_on_s3_too_one_writes_at_a_time(s3: S3Server, bars: Bars, form: Format) -> None:
    """A second writer is refused while the first is alive, and takes over when it was killed."""
    path = f"s3a://{s3.bucket}/once-{form}"
    with writer(path, form) as other:
        with pytest.raises(OutputError, match=f"is being written by process {other.pid} on"):
            write_snapshot(bars_to_batches(bars), path, interval="1m", format=form)
        other.kill()
        other.wait()
    s3.client().put_object(
        Bucket=s3.bucket, Key=f"once-{form}/period=all/part-00099.parquet", Body=b"junk"
    )
    snapshot = write_snapshot(bars_to_batches(bars), path, interval="1m", format=form)
    assert snapshot.bars().digest() == bars.digest()
    listed = s3.client().list_objects_v2(Bucket=s3.bucket, Prefix=f"once-{form}/")["Contents"]
    names = sorted(o["Key"].partition("/")[2] for o in listed if not o["Key"].endswith("/"))
    commit = "_manifest.json" if form == "parquet" else "_delta_log/00000000000000000000.json"
    assert names == [commit, "period=all/part-00000.parquet"]


@pytest.mark.store
def test_wrong_s3_keys_are_one_error_without_the_secret(
    s3: S3Server, bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused access names the address and the settings, never the secret."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-canary-secret")
    with pytest.raises(StoreUnavailable, match="AWS_ENDPOINT_URL") as caught:
        write_snapshot(bars_to_batches(bars), f"s3a://{s3.bucket}/no", interval="1m")
    assert "wrong-canary-secret" not in str(caught.value)
