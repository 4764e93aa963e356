"""The intake takes whatever comes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from streambt_spark.errors import DataError
from streambt_spark.stores.intake import intake

SYMBOLS = st.sampled_from(["A", "B", "a ", "", "../x", None])
TIMES = st.sampled_from(
    ["2020-01-02T12:00Z", "2020-01-02T12:01Z", "2020-01-02 12:02", "2020-01-02T12:00:30Z", "x",
     None, 1577966400, -1, 1e300, float("nan")]
)  # fmt: skip
NUMBERS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([1, 2.5, "3", " 4 ", "", "x", None, True, [], 10**400, "1e999"]),
    st.floats(),
    st.text(max_size=5),
)
ROWS = st.fixed_dictionaries(
    {"symbol": SYMBOLS, "ts": TIMES, **dict.fromkeys(["open", "high", "low", "close"], NUMBERS)},
    optional={"volume": NUMBERS},
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=12))
def test_any_row_is_accepted_or_refused_and_counted(rows: list[dict[str, Any]]) -> None:
    """Good rows beside any others keep the counts exact, and nothing but DataError is raised."""
    good = {"symbol": "Z", "ts": "2020-01-02T12:00Z", "open": 1, "high": 1, "low": 1, "close": 1}
    result = intake([{**good, "volume": 0}, *rows], interval="1m", tz="UTC", allow_rejected=True)
    counts = result.counts
    assert counts.read == len(rows) + 1
    assert counts.rejected == result.quarantine.num_rows
    assert len(result.bars) == counts.accepted - counts.revised
    assert len(set(zip(result.bars.ts, result.bars.code, strict=True))) == len(result.bars)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_file_is_read_or_refused_by_name(tmp_path_factory: Any, content: bytes) -> None:
    """Whatever bytes a CSV file holds, it gives bars or a DataError."""
    path = tmp_path_factory.mktemp("any") / "bars.csv"
    path.write_bytes(b"symbol,ts,open,high,low,close,volume\n" + content)
    with suppress(DataError):
        intake(path, interval="1m")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=20), max_size=8))
def test_no_line_of_a_file_is_lost(tmp_path_factory: Any, lines: list[bytes]) -> None:
    """Each line that is not blank is read: accepted, or refused with its reason."""
    unsplit = bytes.maketrans(b'\r\n"', b"xxx")
    bad = [b"x" + line.translate(unsplit) for line in lines]
    path = tmp_path_factory.mktemp("lines") / "bars.csv"
    good = b"A,2020-01-02T12:00Z,1,2,1,2,10"
    path.write_bytes(b"\n".join([b"symbol,ts,open,high,low,close,volume", good, *bad]))
    counts = intake(path, interval="1m", allow_rejected=True).counts
    assert (counts.read, counts.accepted, counts.rejected) == (len(bad) + 1, 1, len(bad))


KINDS = st.sampled_from(
    [pa.int8(), pa.int64(), pa.uint64(), pa.float16(), pa.float64(), pa.decimal128(38, 3),
     pa.decimal256(70, 0), pa.bool_(), pa.null(), pa.string(), pa.large_string(), pa.string_view(),
     pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(4), pa.date32(), pa.date64(),
     pa.time32("s"), pa.time64("ns"), pa.duration("us"), pa.month_day_nano_interval(),
     pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.map_(pa.string(), pa.int64()),
     pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.timestamp("s")),
     *(pa.timestamp(unit, tz) for unit in ("s", "ms", "us", "ns") for tz in (None, "UTC", "+09:00",
       "America/New_York", "Nowhere"))]
)  # fmt: skip


@st.composite
def columns(draw: st.DrawFn) -> pa.Array:
    """Draw three cells of any Arrow type, of arbitrary bytes."""
    kind = draw(KINDS)
    if pa.types.is_dictionary(kind):
        values = draw(arrays(kind.value_type))
        return pa.DictionaryArray.from_arrays(pa.array([0, 2, None], kind.index_type), values)
    return draw(arrays(kind))


@st.composite
def arrays(draw: st.DrawFn, kind: pa.DataType) -> pa.Array:
    """Draw three cells of a type."""
    is_kind = pa.types
    if is_kind.is_nested(kind) or is_kind.is_interval(kind):
        return pa.nulls(3, kind)
    if is_kind.is_null(kind) or is_kind.is_boolean(kind):
        return pa.array([None, None, None], kind)
    if is_kind.is_string(kind):
        texts = draw(st.lists(st.binary(max_size=9), min_size=3, max_size=3))
        return pa.Array.from_buffers(kind, 3, pa.array(texts, pa.binary()).buffers())
    if width := _width(kind):
        cells = draw(st.binary(min_size=3 * width, max_size=3 * width))
        return pa.Array.from_buffers(kind, 3, [None, pa.py_buffer(cells)])
    texts = draw(st.lists(st.binary(max_size=9), min_size=3, max_size=3))
    if is_kind.is_large_string(kind) or is_kind.is_string_view(kind):
        return pa.array([text.decode("latin-1") for text in texts], kind)
    return pa.array(texts, kind)


def _width(kind: pa.DataType) -> int:
    try:
        return int(kind.bit_width) // 8
    except ValueError:
        return 0


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_table_of_any_types_is_read_or_refused(data: st.DataObject) -> None:
    """Whatever types and bytes the columns of a table have, it gives bars or an error of ours."""
    good = {
        "symbol": pa.array(["A", "B", "C"]), "ts": pa.array(["2020-01-02T12:00Z"] * 3),
        **dict.fromkeys(("open", "high", "low", "close", "volume"), pa.array([1.0, 1.0, 1.0])),
    }  # fmt: skip
    for name in data.draw(st.lists(st.sampled_from(sorted(good)), min_size=1, max_size=3)):
        good[name] = data.draw(columns())
    with suppress(DataError):
        result = intake(pa.table(good), interval="1m", tz="UTC", allow_rejected=True)
        assert result.counts.read == 3


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(8)))
def test_the_order_of_distinct_rows_does_not_matter(order: list[int]) -> None:
    """Shuffled rows give the same bars."""
    rows = [
        {"symbol": "AB"[i % 2], "ts": 1577966400 + 60 * (i // 2), "open": 1, "high": 9, "low": 1,
         "close": i + 1, "volume": i}
        for i in range(8)
    ]  # fmt: skip
    expected = intake(rows, interval="1m").bars.digest()
    assert intake([rows[i] for i in order], interval="1m").bars.digest() == expected
