"""The intake takes whatever comes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

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
