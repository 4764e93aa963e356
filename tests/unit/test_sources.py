"""Reading bars from what users have."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streambt_spark.cerebro import Cerebro
from streambt_spark.errors import (
    BadColumns,
    BadTime,
    ConfigError,
    DataError,
    NoData,
    SourceNotFound,
)
from streambt_spark.stores.intake import Counts, check_source, intake
from streambt_spark.stores.times import moment

HEADER = "symbol,ts,open,high,low,close,volume\n"
NOON = 1_577_966_400_000_000  # 2020-01-02T12:00Z
DAY = 1_577_923_200_000_000  # 2020-01-02T00:00Z


def row(**values: Any) -> dict[str, Any]:
    """Return a valid bar with other values in some places."""
    bar = {"symbol": "A", "ts": "2020-01-02T12:00Z", "open": 1, "high": 2, "low": 1, "close": 2}
    return {**bar, "volume": 10, **values}


@pytest.mark.parametrize("name", ["bars.csv", "bars.csv.gz"])
def test_csv_plain_and_gzip_hold_the_same_bars(tmp_path: Path, name: str) -> None:
    """A CSV file gives its bars, compressed or not."""
    text = (HEADER + "b,2020-01-02T12:00Z,1,2,1,2,10\na,2020-01-02T12:00Z,3,4,3,4,20\n").encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    bars = intake(path, interval="1m").bars
    assert (bars.symbols, bars.code.tolist(), bars.ts.tolist()) == (("A", "B"), [0, 1], [NOON] * 2)
    assert (bars.open.tolist(), bars.close.tolist(), bars.volume.tolist()) == (
        [3, 1],
        [4, 2],
        [20, 10],
    )


def test_every_kind_of_source_gives_the_same_digest(tmp_path: Path) -> None:
    """CSV, Parquet file and folder, frame, list and table of the same bars are equal."""
    rows = [row(), row(symbol="B", close=1.5), row(ts="2020-01-02T12:01Z")]
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "bars.csv", index=False)
    (tmp_path / "folder").mkdir()
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "one.parquet")
    pq.write_table(pa.Table.from_pandas(frame[:1]), tmp_path / "folder" / "a.parquet")
    pq.write_table(pa.Table.from_pandas(frame[1:]), tmp_path / "folder" / "b.parquet")
    sources = [tmp_path / "bars.csv", tmp_path / "one.parquet", tmp_path / "folder", frame, rows,
               pa.Table.from_pandas(frame)]  # fmt: skip
    assert len({intake(source, interval="1m").bars.digest() for source in sources}) == 1


def test_usual_names_and_any_case_are_understood(tmp_path: Path) -> None:
    """Ticker, Date and Vol are symbol, session and volume; a semicolon separates as well."""
    path = tmp_path / "bars.csv"
    path.write_text("Ticker;Date;Open;HIGH;low;Close;Vol\nspy;2020-01-02;1;2;1;2;10\n")
    bars = intake(path, interval="1d").bars
    assert (bars.symbols, bars.ts.tolist()) == (("SPY",), [DAY])


def test_separate_date_and_time_columns_are_joined() -> None:
    """A date beside a time column gives one time."""
    rows = [{**row(), "Date": "2020-01-02", "Time": "12:00:00"}]
    del rows[0]["ts"]
    assert intake(rows, interval="1m", tz="UTC").bars.ts.tolist() == [NOON]


def test_a_mapping_names_the_columns_of_the_source() -> None:
    """A mapped column wins over one with the usual name."""
    bars = intake([row(Adj=1.5)], interval="1m", columns={"close": "Adj"}).bars
    assert bars.close.tolist() == [1.5]


@pytest.mark.parametrize(
    ("text", "tz", "expected"),
    [
        ("2020-01-02T12:00:00Z", "Asia/Tokyo", NOON),
        ("2020-01-02T07:00:00-05:00", "UTC", NOON),
        ("2020-01-02 07:00", "America/New_York", NOON),
        (dt.datetime(2020, 1, 2, 7), "America/New_York", NOON),  # noqa: DTZ001 - on purpose
        (dt.datetime(2020, 1, 2, 12, tzinfo=dt.UTC), "America/New_York", NOON),
        (NOON // 1_000_000, "Asia/Tokyo", NOON),
        (NOON // 1_000, "Asia/Tokyo", NOON),
        (NOON, "Asia/Tokyo", NOON),
        (NOON * 1_000, "Asia/Tokyo", NOON),
        (str(NOON // 1_000_000), "Asia/Tokyo", NOON),
        ("2020-01-02", "Asia/Tokyo", DAY),
        (20200102, "Asia/Tokyo", DAY),
        (dt.date(2020, 1, 2), "Asia/Tokyo", DAY),
    ],
)
def test_times_are_read_as_users_write_them(text: Any, tz: str, expected: int) -> None:
    """ISO 8601 with or without zone, dates, and epochs by magnitude mean one moment."""
    assert intake([row(ts=text)], interval="1m", tz=tz).bars.ts.tolist() == [expected]


@pytest.mark.parametrize("text", ["2020-01-02", "2020-01-02 00:00:00", "2020-01-02T00:00:00-05:00"])
def test_midnight_of_a_daily_bar_is_its_trading_day(text: str) -> None:
    """A daily bar's midnight, of whatever zone, is midnight UTC of that date."""
    assert intake([row(ts=text)], interval="1d", tz="America/New_York").bars.ts.tolist() == [DAY]


def test_times_in_different_forms_may_be_mixed() -> None:
    """One column may hold zoned, zoneless and epoch texts."""
    texts = ["2020-01-02T12:00Z", "2020-01-02 07:01", str(NOON // 1_000_000 + 120)]
    bars = intake([row(ts=t) for t in texts], interval="1m", tz="America/New_York").bars
    assert ((bars.ts - NOON) // 60_000_000).tolist() == [0, 1, 2]


def test_a_time_that_clocks_show_twice_is_refused() -> None:
    """The repeated hour at the end of daylight saving is not guessed."""
    rows = [row(), row(ts="2020-11-01 01:30")]
    result = intake(rows, interval="1m", tz="America/New_York")
    assert result.quarantine["reason"].to_pylist() == ["bad_time"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"close": None}, "missing_field"),
        ({"symbol": ""}, "missing_field"),
        ({"open": "1,5"}, "bad_number"),
        ({"ts": "yesterday"}, "bad_time"),
        ({"symbol": "../etc"}, "bad_symbol"),
        ({"close": float("inf")}, "not_finite"),
        ({"low": 0, "open": 0}, "non_positive_price"),
        ({"low": 1.5, "open": 1, "close": 2}, "low_above_body"),
        ({"high": 1.5}, "high_below_body"),
        ({"volume": -1}, "negative_volume"),
        ({"ts": "2020-01-02T12:00:30Z"}, "off_grid"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason(values: dict[str, Any], reason: str) -> None:
    """Each rule has a reason, and the good rows beside it are kept."""
    result = intake([row(), row(**values)], interval="1m")
    assert result.quarantine.select(["row", "reason"]).to_pylist() == [{"row": 2, "reason": reason}]
    assert result.counts == Counts(read=2, accepted=1, rejected=1)


def test_a_row_of_the_wrong_width_is_refused_with_its_text(tmp_path: Path) -> None:
    """A CSV line with too few cells is malformed; the lines after it keep their numbers."""
    path = tmp_path / "bars.csv"
    good = "A,2020-01-02T12:00Z,1,2,1,2,10\n"
    path.write_text(f"{HEADER}{good}A,broken\nA,2020-01-02T12:01Z,1,2,1,x,10\n")
    result = intake(path, interval="1m", allow_rejected=True)
    rows = result.quarantine.select(["row", "reason"]).to_pylist()
    assert sorted((r["row"], r["reason"]) for r in rows) == [(2, "malformed"), (3, "bad_number")]


def test_bytes_that_are_no_text_spoil_their_row_alone(tmp_path: Path) -> None:
    """Bad UTF-8 in a cell refuses that row."""
    path = tmp_path / "bars.csv"
    good = b"A,2020-01-02T12:00Z,1,2,1,2,10\n"
    path.write_bytes(HEADER.encode() + good + b"\xff\xfe,2020-01-02T12:00Z,1,2,1,2,10\n")
    result = intake(path, interval="1m")
    assert result.counts == Counts(read=2, accepted=1, rejected=1)


def test_a_repeated_row_is_a_duplicate_and_a_changed_one_a_revision() -> None:
    """The last of the rows with one key stays, and each row is counted once."""
    result = intake([row(), row(), row(close=1.5), row(close=1.5)], interval="1m")
    assert result.bars.close.tolist() == [1.5]
    assert result.counts == Counts(read=4, accepted=2, duplicate=2, revised=1)


def test_symbols_select_rows_and_must_exist() -> None:
    """Rows of other symbols are not read; a symbol without bars is an error with a hint."""
    rows = [row(symbol="AAPL"), row(symbol="SPY")]
    assert intake(rows, interval="1m", symbols=["spy"]).counts == Counts(read=1, accepted=1)
    with pytest.raises(NoData, match=r"no bar of APL \(did you mean AAPL\?\)"):
        intake(rows, interval="1m", symbols=["APL", "AAPL"])


def test_a_padded_option_symbol_is_the_option() -> None:
    """The 21 characters of OCC, with spaces behind the root, and the same without are one symbol;
    other spaces inside a symbol are refused.
    """
    names = ["AAPL  240119C00150000", "AAPL240119C00150000 ", "aapl 240119c00150000"]
    rows = [row(symbol=name, ts=f"2020-01-02T12:0{n}Z") for n, name in enumerate(names)]
    rows += [row(symbol="F     240119P00012500"), row(symbol="GOOGL 240119C02000000")]
    rows += [row(symbol="A B"), row(symbol="AAPL  240119X00150000"), row(symbol="ﬁ")]
    result = intake(rows, interval="1m")
    assert result.bars.symbols == (
        "AAPL240119C00150000", "F240119P00012500", "GOOGL240119C02000000",
    )  # fmt: skip
    assert result.quarantine["symbol"].to_pylist() == ["A B", "AAPL  240119X00150000", "ﬁ"]
    assert set(result.quarantine["reason"].to_pylist()) == {"bad_symbol"}
    wanted = intake(rows, interval="1m", symbols=["F     240119P00012500", "AAPL240119C00150000"])
    assert wanted.counts == Counts(read=5, accepted=4, rejected=1)  # the last cannot be told


def test_a_source_without_symbols_takes_the_one_given() -> None:
    """`symbol` names the bars of a source that has no such column."""
    rows = [{k: v for k, v in row().items() if k != "symbol"}]
    assert intake(rows, interval="1m", symbol="@BTCUSD").bars.symbols == ("@BTCUSD",)
    with pytest.raises(BadColumns, match="say which symbol"):
        intake(rows, interval="1m")


def test_a_repeated_column_is_named(tmp_path: Path) -> None:
    """A column that is there twice is refused by name in a CSV file, a table and a frame."""
    text = "symbol,ts,open,high,low,close,close,volume\nA,2020-01-02T12:00Z,1,2,1,2,2,10\n"
    (tmp_path / "bars.csv").write_text(text)
    frame = pd.DataFrame([row()])
    frame.insert(0, "close", 2, allow_duplicates=True)
    table = pa.Table.from_pandas(pd.DataFrame([row()])).append_column("close", pa.array([2]))
    indexed = pd.DataFrame([row()], index=pd.Index([1], name="ts"))
    for source, found in (
        (tmp_path / "bars.csv", f"{tmp_path}/bars.csv repeats the column close"),
        (table, "the table repeats the column close"),
        (frame, "the frame repeats the column close"),
        (indexed, "the frame repeats the column ts"),
    ):
        with pytest.raises(BadColumns) as caught:
            intake(source, interval="1m")
        assert str(caught.value) == (
            f"{found}; expected each column once: rename or remove the others"
        )


def test_a_repeated_column_that_is_not_read_does_not_matter(tmp_path: Path) -> None:
    """Empty cells at the end of each line are columns without a name."""
    path = tmp_path / "bars.csv"
    path.write_text(f"{HEADER[:-1]},,\nA,2020-01-02T12:00Z,1,2,1,2,10,,\nA,x,1,2,1,2,10,,\n")
    assert intake(path, interval="1m").counts == Counts(read=2, accepted=1, rejected=1)


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        ("/no/such.csv", SourceNotFound, "/no/such.csv"),
        ([], NoData, "empty"),
        ([{"a": 1}], BadColumns, "lacks symbol, ts or session, open"),
        ([row(ts="x"), row(ts="y")], BadTime, "not one of 2 times"),
        ([row(close="x")], NoData, "1 bad_number"),
        ([1], BadColumns, "type int"),
    ],
)
def test_a_useless_source_is_one_named_error(
    source: Any, error: type[Exception], text: str
) -> None:
    """Nothing usable raises, in one line that says what was found."""
    with pytest.raises(error) as caught:
        intake(source, interval="1m")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bars_off_the_grid_are_told_what_to_do() -> None:
    """The message has the interval, the first time that is no multiple of it, and the way out."""
    hours = [row(ts="2020-01-02T13:30Z"), row(ts="2020-01-02T14:30Z"), row(close="x")]
    with pytest.raises(NoData) as caught:
        intake(hours, interval="1h")
    assert str(caught.value) == (
        "the list has no valid bar (of 3 rows: 2 off_grid, 1 bad_number); times must be multiples "
        "of the interval 1h from 1970-01-01T00:00Z, found 2020-01-02T13:30Z: give a shorter "
        "--interval, such as 30m for hourly bars from 09:30, or bars on the grid"
    )
    assert intake(hours, interval="30m").counts == Counts(read=3, accepted=2, rejected=1)


def test_a_source_that_is_mostly_bad_is_refused() -> None:
    """More than half of rejected rows end with the reasons and the way out; half do not."""
    bad = row(ts="2020-01-02T12:00:30Z")
    with pytest.raises(DataError) as caught:
        intake([row(), bad, bad, row(close="x")], interval="1m")
    assert str(caught.value) == (
        "the list: 3 of 4 rows (75.0%) are rejected (2 off_grid, 1 bad_number); times must be "
        "multiples of the interval 1m from 1970-01-01T00:00Z, found 2020-01-02T12:00:30Z: give a "
        "shorter --interval, such as 30m for hourly bars from 09:30, or bars on the grid; or allow "
        "it by --allow-rejected (allow_rejected=True)"
    )
    allowed = intake([row(), bad, bad], interval="1m", allow_rejected=True)
    assert allowed.counts == Counts(read=3, accepted=1, rejected=2)
    assert intake([row(), bad], interval="1m").counts == Counts(read=2, accepted=1, rejected=1)


def test_rejected_rows_are_warned_of() -> None:
    """In the library too, from more than 1 % on, with how many and why."""
    rows = [row(ts=f"2020-01-02T12:{n:02}Z") for n in range(59)]
    Cerebro().add_data([*rows * 2, row(close="x")], interval="1m")  # 0.8 %
    with pytest.warns(UserWarning, match=r"^2 of 61 rows \(3.3%\) were rejected: 2 bad_number$"):
        Cerebro().add_data([*rows, row(close="x"), row(close="y")], interval="1m")


def test_nothing_of_a_refused_source_is_given() -> None:
    """What is taken in by parts is looked at as a whole before the first part comes."""
    parts = check_source([row(), row(close="x"), row(close="y")], interval="1m")
    with pytest.raises(DataError, match="2 of 3 rows"):
        next(parts)


def test_rows_of_other_times_are_not_read() -> None:
    """start ≤ ts < end selects rows as symbols do: neither good nor bad ones outside are counted,
    a row whose time cannot be told is.
    """
    rows = [row(ts=f"2020-01-02T12:0{n}Z", close=close) for n, close in enumerate([2, 9, 2, 9, 2])]
    rows.append(row(ts="soon"))
    minute = 60_000_000
    found = intake(rows, interval="1m", start=NOON + minute, end=NOON + 3 * minute, tz="UTC",
                   allow_rejected=True)  # fmt: skip
    assert found.counts == Counts(read=3, accepted=1, rejected=2)
    assert found.bars.ts.tolist() == [NOON + 2 * minute]
    assert found.quarantine["row"].to_pylist() == [2, 6]
    with pytest.raises(NoData, match="no bar in that time; its 5 rows are of other times"):
        intake(rows[:5], interval="1m", start=NOON + 9 * minute)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("symbol", pa.array([{"a": "X"}] * 2), "'symbol' is of type struct<a: string>; expected"),
        ("close", pa.array([{"a": 1.0}] * 2), "'close' is of type struct<a: double>; expected"),
        ("ts", pa.array([["2020-01-02T12:00Z"]] * 2), "'ts' is of type list<"),
        ("volume", pa.array([[("a", 1)]] * 2, pa.map_(pa.string(), pa.int64())), "of type map<"),
        ("ts", pa.array([1, 2], pa.duration("s")), "'ts' is of type duration[s]; expected"),
    ],
)
def test_a_column_of_another_kind_is_named(column: str, values: pa.Array, message: str) -> None:
    """A column that holds no single values is refused by its name and type."""
    table = pa.Table.from_pylist([row(), row()]).drop_columns([column])
    with pytest.raises(BadColumns) as caught:
        intake(table.append_column(column, values), interval="1m")
    assert message in str(caught.value)


def test_texts_and_numbers_may_be_of_any_type_of_theirs() -> None:
    """Large, viewed, encoded and binary texts and every kind of number are read alike."""
    rows = [row(symbol="A", ts=f"2020-01-02T12:0{n}Z") for n in range(3)]
    plain = pa.Table.from_pylist([{k: str(v) for k, v in r.items()} for r in rows])
    expected = intake(plain, interval="1m").bars.digest()
    for kind in (pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(),
                 pa.binary_view(), pa.dictionary(pa.int32(), pa.string())):  # fmt: skip
        columns = [column.cast(kind) for column in plain.columns]
        table = pa.Table.from_arrays(columns, plain.column_names)
        assert intake(table, interval="1m").bars.digest() == expected, kind
    for number in (pa.uint8(), pa.int16(), pa.uint64(), pa.float32(), pa.float16(),
                   pa.decimal128(30, 2), pa.decimal256(40, 3)):  # fmt: skip
        table = plain
        for name in ("open", "high", "low", "close", "volume"):
            at = table.column_names.index(name)
            table = table.set_column(at, name, plain[name].cast(pa.int64()).cast(number))
        assert intake(table, interval="1m").bars.digest() == expected, number


def test_a_symbol_that_is_no_text_spoils_its_row_alone(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, in a column of texts or of bytes, are a bad symbol."""
    bad = pa.array([b"A", b"\xff\xfe", b"B"], pa.binary())
    unchecked = pa.Array.from_buffers(pa.string(), 3, bad.buffers())
    rest = pa.Table.from_pylist([row(), row(), row()]).drop_columns(["symbol"])
    for symbols in (bad, unchecked):
        table = rest.append_column("symbol", symbols)
        pq.write_table(table, tmp_path / "bars.parquet")
        for source in (table, tmp_path / "bars.parquet"):
            result = intake(source, interval="1m")
            assert result.bars.symbols == ("A", "B")
            assert result.quarantine["reason"].to_pylist() == ["bad_symbol"]
            assert result.quarantine["row"].to_pylist() == [2]


@pytest.mark.parametrize("content", [b"", b"\n", HEADER.encode()])
def test_an_empty_file_is_no_data(tmp_path: Path, content: bytes) -> None:
    """A file without bars is NoData, header or not."""
    path = tmp_path / "bars.csv"
    path.write_bytes(content)
    with pytest.raises(NoData):
        intake(path, interval="1m")


def test_a_damaged_archive_is_a_data_error(tmp_path: Path) -> None:
    """A truncated gzip file is named, not a traceback."""
    path = tmp_path / "bars.csv.gz"
    path.write_bytes(gzip.compress(HEADER.encode() * 100)[:-10])
    with pytest.raises(DataError, match=r"bars\.csv\.gz cannot be read"):
        intake(path, interval="1m")


def test_bad_options_are_config_errors() -> None:
    """An unknown zone or mapped column is refused before a row is read."""
    with pytest.raises(ConfigError, match="Mars"):
        intake([row()], interval="1m", tz="Mars/Base")
    with pytest.raises(ConfigError, match="did you mean close"):
        intake([row()], interval="1m", columns={"closing": "close"})
    with pytest.raises(BadColumns, match="did you mean close"):
        intake([row()], interval="1m", columns={"close": "clos"})


def test_a_moment_is_read_like_a_bar_time() -> None:
    """`moment` understands dates, zones and datetimes, and names what it does not."""
    assert moment("2020-01-02") == DAY
    assert moment("2020-01-02T07:00", "America/New_York") == NOON
    assert moment(dt.datetime(2020, 1, 2, 12, tzinfo=dt.UTC)) == NOON
    with pytest.raises(BadTime, match="soon"):
        moment("soon")


@pytest.mark.parametrize(
    ("name", "interval", "rows", "symbols"),
    [
        ("us_daily", "1d", 29_245, 5),
        ("us_minute", "1m", 13_429, 4),
        ("crypto_minute", "1m", 17_752, 2),
    ],
)
def test_real_bars_are_all_accepted(
    market: Path, name: str, interval: str, rows: int, symbols: int
) -> None:
    """The sample market files hold nothing but valid bars."""
    result = intake(market / f"{name}.csv.gz", interval=interval)
    assert result.counts == Counts(read=rows, accepted=rows)
    assert len(result.bars.symbols) == symbols
    assert np.all(np.diff(result.bars.ts) >= 0)
