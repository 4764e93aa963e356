"""The ledger: its registry of fields, its canonical form and digest, its table and its proof."""

from __future__ import annotations

import hashlib
import struct
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streambt_spark.core.ledger.digest import canonical_bytes, columns_of, digest
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import (
    REGISTRY,
    RUN_WORDS,
    Field,
    Kind,
    KindSpec,
    Registry,
)
from streambt_spark.errors import DataError, LedgerDamaged
from streambt_spark.stores.ledger import (
    account_events,
    check_numbers,
    event_line,
    first_difference,
    ledger_digest,
    ledger_events,
    ledger_table,
    read_ledger,
    write_ledger,
)
from tests.canonical import plain, read_back

DAY = 86_400_000_000
CASH = {"lane": 0, "ts": DAY, "seq": 0, "kind": Kind.CASH, "amount": 1000, "currency": 0,
        "cash": 1000, "reason": 1}  # fmt: skip
FILL = {"lane": 0, "ts": DAY, "seq": 1, "kind": Kind.FILL, "symbol": 0, "side": -1, "order_id": 0,
        "quantity": 10.0, "price": 0.1, "commission": 5, "amount": 95, "currency": 0, "cash": 1095,
        "position": -10.0}  # fmt: skip
DISABLED = {"lane": 0, "ts": DAY, "seq": 2, "kind": Kind.DISABLED, "reason": 5, "text": 0}
LATE = {"ts": DAY, "seq": 0, "kind": Kind.LATE, "reason": 6}
WORDS = REGISTRY.vocabulary(["L"], ["AAPL"], ["USD"])


def events(*rows: dict[str, float], registry: Registry = REGISTRY) -> Events:
    """Return events of rows by field; a field that is left out is null."""
    records = np.repeat(registry.blank, len(rows))
    for record, row in zip(records, rows, strict=True):
        for name, value in row.items():
            record[name] = value
    return Events(records, ("boom",))


def table(*rows: dict[str, float]) -> pa.Table:
    """Return a ledger of rows by field."""
    return ledger_table(events(*rows), WORDS)


def canonical(found: Events, words: Any = WORDS, registry: Registry = REGISTRY) -> bytes:
    """Return the canonical bytes of events."""
    parts = columns_of(found, words, registry)
    return b"".join(canonical_bytes(part)[0].tobytes() for part in parts)


TABLE = table(CASH, FILL, DISABLED, LATE)


def test_the_canonical_bytes_are_these() -> None:
    """A mask, then numbers of 8 bytes and words behind their length; the digest is their hash."""

    def word(text: str) -> bytes:
        return struct.pack("<I", len(text)) + text.encode()

    def mask(*numbers: int) -> bytes:
        return struct.pack("<Q", sum(1 << number for number in numbers))

    head = word("L") + struct.pack("<q", DAY)
    expected = (
        mask(0, 1, 2, 3, 10, 11, 12, 16)
        + head + struct.pack("<q", 0) + word("cash")
        + struct.pack("<q", 1000) + word("USD") + struct.pack("<q", 1000) + word("initial")
        + mask(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
        + head + struct.pack("<q", 1) + word("fill") + word("AAPL") + word("sell")
        + struct.pack("<qddqq", 0, 10.0, 0.1, 5, 95) + word("USD") + struct.pack("<qd", 1095, -10.0)
        + mask(0, 1, 2, 3, 16, 17)
        + head + struct.pack("<q", 2) + word("disabled") + word("allocation_raised") + word("boom")
    )  # fmt: skip
    account = events(CASH, FILL, DISABLED)
    assert canonical(account) == expected
    assert ledger_digest(TABLE) == digest(account, WORDS) == hashlib.sha256(expected).hexdigest()


def test_the_canonical_bytes_can_be_read_back() -> None:
    """An independent decoder finds the table's rows, field by field."""
    found = read_back(canonical(events(CASH, FILL, DISABLED)))
    assert found == [plain(row) for row in account_events(TABLE).to_pylist()]


def test_a_new_field_and_kind_change_no_digest_that_does_not_use_them() -> None:
    """Where they are used, they count, and the table and its events have them too."""
    more = REGISTRY.extended(
        [Field(40, "venue", "i4", -1, "symbol", ""), Field(41, "fee_rate", "f8", np.nan, None, "")],
        [KindSpec(60, "loan", ("venue", "fee_rate"), audit=False, doc="")],
    )
    words = more.vocabulary(["L"], ["AAPL"], ["USD"])
    rows = (CASH, FILL, DISABLED)
    before = events(*rows, registry=more)
    assert canonical(before, words, more) == canonical(events(*rows))
    used = events(*rows, {"lane": 0, "ts": DAY, "seq": 3, "kind": 60, "venue": 0}, registry=more)
    (*_, loan) = read_back(canonical(used, words, more), more)
    assert loan == {"lane": "L", "ts": DAY, "seq": 3, "kind": "loan", "venue": "AAPL"}
    ledger = ledger_table(used, words, more)
    assert ledger.column_names == list(more.names)
    again, known = ledger_events(ledger, more)
    assert canonical(again, known, more) == canonical(used, words, more)


def test_a_number_is_not_given_twice() -> None:
    """Fields are known by their numbers for ever."""
    with pytest.raises(AssertionError, match="number of its own"):
        REGISTRY.extended([Field(3, "again", "i8", 0, None, "")])


def test_the_digest_knows_neither_row_order_nor_audit() -> None:
    """Rows in any order; late and duplicate rows tell of the source, not of the account."""
    assert ledger_digest(TABLE.take([2, 3, 1, 0])) == ledger_digest(TABLE)
    assert ledger_digest(TABLE.slice(0, 3)) == ledger_digest(TABLE)
    assert ledger_digest(TABLE.slice(0, 1)) != ledger_digest(TABLE)


@pytest.mark.parametrize("field", REGISTRY.fields, ids=lambda field: field.name)
def test_every_field_counts(field: Field) -> None:
    """The least change of any field changes the digest, from null too."""
    value = FILL.get(field.name, field.null)
    codes = {"lane": 1, "kind": Kind.ORDER, "side": 1, "reason": 2}
    other: float = codes.get(field.name, 0 if value == field.null else 1)
    if not field.words:
        other = 5.0 if value == field.null or value != value else float(np.nextafter(value, 1e9))
        other = other if field.is_float else 7
    words = REGISTRY.vocabulary(["L", "M"], ["AAPL", "SPY"], ["USD", "EUR"])
    changed = ledger_table(events(CASH, {**FILL, field.name: other}, DISABLED), words)
    assert ledger_digest(changed) != ledger_digest(TABLE)


def test_the_table_holds_texts_times_and_nulls() -> None:
    """As a user reads it; an audit event has no lane."""
    cash, fill, disabled, late = TABLE.to_pylist()
    told = ("kind", "side", "symbol", "lane", "currency")
    assert [fill[name] for name in told] == ["fill", "sell", "AAPL", "L", "USD"]
    assert fill["ts"].isoformat() == "1970-01-02T00:00:00+00:00"
    empty = [cash[name] for name in ("symbol", "price", "commission", "text")]
    assert (empty, cash["reason"]) == ([None] * 4, "initial")
    assert (disabled["reason"], disabled["text"]) == ("allocation_raised", "boom")
    assert (late["lane"], late["kind"], late["reason"]) == ("", "late", "late")


def test_a_table_and_its_events_are_one() -> None:
    """There and back again, with the vocabulary that occurs."""
    found, words = ledger_events(TABLE)
    assert ledger_table(found, words) == TABLE
    assert {name: words[name].texts for name in RUN_WORDS} == {
        "lane": ("", "L"), "symbol": (None, "AAPL"), "currency": (None, "USD"),
        "text": (None, "boom"),
    }  # fmt: skip


def test_a_word_of_a_later_release_is_refused_by_name() -> None:
    """A kind that this one does not know."""
    kinds = pa.array(["cash", "merger", "disabled", "late"])
    later = TABLE.set_column(REGISTRY.names.index("kind"), TABLE.schema.field("kind"), kinds)
    with pytest.raises(DataError, match="kind 'merger' is not known to this release"):
        ledger_events(later)


def test_texts_of_several_steps_are_joined() -> None:
    """Each step numbers its own texts; together each text has one number."""
    one = events({**DISABLED, "seq": 0})
    two = Events(events({**DISABLED, "seq": 1, "text": 1}).records, ("no", "bang"))
    both = Events.concat([one, events(CASH), two])
    assert [(*both.texts, None)[code] for code in both.text] == ["boom", None, "bang"]


def test_no_events_are_a_ledger() -> None:
    """With all columns, and the digest of nothing."""
    empty = ledger_table(Events.concat([]), REGISTRY.vocabulary())
    assert (empty.num_rows, empty.column_names) == (0, list(REGISTRY.names))
    assert ledger_digest(empty) == hashlib.sha256(b"").hexdigest()


def test_a_difference_is_found_and_read() -> None:
    """The first event that differs, if only in a float's last bit, as a line."""
    other = table(CASH, {**FILL, "price": float(np.nextafter(0.1, 1))}, DISABLED)
    assert first_difference(TABLE, other) == 1
    assert first_difference(TABLE, TABLE.slice(0, 2)) == 2
    assert event_line(TABLE, 0) == (
        "lane=L ts=1970-01-02T00:00:00Z seq=0 kind=cash amount=1000 currency=USD cash=1000 "
        "reason=initial"
    )


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([0, 1, 3], "of lane L, event 2 is missing"),
        ([0, 1, 1], "of lane L, event 1 is there 2 times"),
        ([1, 2, 3], "of lane L, event 0 is missing"),
        ([0, -5, 2], "of lane L, event 1 is missing"),
    ],
)
def test_a_gap_or_a_repeat_is_named(numbers: list[int], message: str) -> None:
    """With the lane, the place and the ledger's address; the other lanes are sound."""
    whole = [{**CASH, "lane": 1, "seq": seq} for seq in (1, 0)]
    damaged = [{**CASH, "seq": seq} for seq in numbers]
    words = REGISTRY.vocabulary(["L", "M"], currencies=["USD"])
    with pytest.raises(LedgerDamaged, match=f"ledger here is damaged: {message}") as caught:
        check_numbers(ledger_table(events(*damaged, *whole, LATE), words), "here")
    assert isinstance(caught.value, DataError)


def test_a_ledger_in_any_order_proves_itself(tmp_path: Path) -> None:
    """Lanes interleaved, audit events numbered apart, read from its table."""
    check_numbers(TABLE.take([2, 3, 0, 1]), "here")
    check_numbers(TABLE.slice(0, 0), "here")
    for name, rows, message in (
        ("sound", [0, 1, 2, 3], None),
        ("cut", [0, 2, 3], "/cut is damaged: of lane L, event 1 is missing"),
        ("audit", [0, 3, 3], "of the audit events, event 0 is there 2 times"),
    ):
        address = str(tmp_path / name)
        write_ledger(address, TABLE.take(rows))
        stored = read_ledger(address, columns=["lane", "seq"])
        with nullcontext() if message is None else pytest.raises(LedgerDamaged, match=message):
            check_numbers(stored, address)
