"""The canonical form of any events: read back, from any order of rows and any parts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streambt_spark.core.ledger.digest import canonical_bytes, columns_of, digest
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import REGISTRY, Field
from streambt_spark.stores.ledger import ledger_digest, ledger_events, ledger_table
from tests.canonical import plain, read_back

WORDS = REGISTRY.vocabulary(["L", "a lane"], ["AAPL", "@BTCÜSD"], ["USD", "JPY"])
TEXTS = ("", "boom: ½ (f.py line 3)")
YEAR_9999 = 253_402_300_799_000_000


def values(field: Field) -> st.SearchStrategy[float]:
    """Return what a field may hold, null often."""
    if field.words == "text":
        return st.integers(-1, len(TEXTS) - 1)
    if field.words:
        texts, first = WORDS[field.words]
        lowest = first + (field.name == "lane")
        return st.integers(lowest, first + len(texts) - 1)
    null = st.just(field.null)
    if field.is_float:
        return null | st.floats(allow_nan=False)
    if field.name == "ts":
        return st.integers(0, 3) | st.integers(-(10**15), YEAR_9999)
    return null | st.integers(-(2**63) + 1, 2**63 - 1)


@st.composite
def ledgers(draw: st.DrawFn) -> Events:
    """Draw up to 12 events of two lanes in canonical order, each lane numbered from 0."""
    rows = draw(
        st.lists(st.fixed_dictionaries({f.name: values(f) for f in REGISTRY.fields}), max_size=12)
    )
    records = np.repeat(REGISTRY.blank, len(rows))
    for record, row in zip(records, rows, strict=True):
        for name, value in row.items():
            record[name] = value
    records = records[np.lexsort((records["ts"], records["lane"]))]
    for lane in (0, 1):
        mine = records["lane"] == lane
        records["seq"][mine] = np.arange(mine.sum())
    return Events(records, TEXTS)


def canonical(events: Events) -> bytes:
    """Return the canonical bytes of events."""
    return b"".join(canonical_bytes(part)[0].tobytes() for part in columns_of(events, WORDS))


@given(ledgers())
def test_the_bytes_hold_the_events(events: Events) -> None:
    """Read back by an independent decoder: so no two ledgers share their bytes."""
    rows = ledger_table(events, WORDS).to_pylist()
    assert read_back(canonical(events)) == [plain(row) for row in rows]


@given(ledgers(), st.randoms(use_true_random=False), st.lists(st.integers(0, 12), max_size=3))
def test_rows_in_any_order_and_parts_have_one_digest(
    events: Events, random: object, cuts: list[int]
) -> None:
    """The table shuffled and cut into chunks, or the events themselves."""
    ledger = ledger_table(events, WORDS)
    order = list(range(len(ledger)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = ledger.take(pa.array(order, pa.int64()))
    edges = [0, *sorted(min(cut, len(ledger)) for cut in cuts), len(ledger)]
    parts = [shuffled.slice(a, b - a) for a, b in pairwise(edges)]
    assert ledger_digest(pa.concat_tables(parts)) == digest(events, WORDS)


@given(ledgers())
def test_a_table_and_its_events_are_one(events: Events) -> None:
    """There and back, with the codes of the words that occur."""
    ledger = ledger_table(events, WORDS)
    found, words = ledger_events(ledger)
    assert ledger_table(found, words) == ledger
