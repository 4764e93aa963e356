"""The ledger: its canonical form, its digest, and its table."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from streambt_spark.core.ledger.events import (
    COLUMNS,
    DTYPES,
    NULL,
    Events,
    Kind,
    canonical_lines,
    digest,
)
from streambt_spark.stores.ledger import account_events, ledger_digest, ledger_table

FILL = {
    "lane": 0, "ts": 86_400_000_000, "seq": 1, "kind": Kind.FILL, "symbol": 0, "side": -1,
    "order_id": 0, "quantity": 10.0, "price": 0.1, "commission": 5, "amount": 95, "cash": 1095,
    "position": -10.0, "equity": NULL, "exposure": NULL, "reason": 0,
}  # fmt: skip
BLANK = {
    **FILL, "seq": 0, "kind": Kind.CASH, "symbol": -1, "side": 0, "order_id": NULL,
    "quantity": np.nan, "price": np.nan, "commission": NULL, "amount": 1000, "cash": 1000,
    "position": np.nan, "reason": 1,
}  # fmt: skip
LATE = {**BLANK, "lane": -1, "kind": Kind.LATE, "reason": 6}


def events(*rows: dict[str, float]) -> Events:
    """Return events of rows by column."""
    return Events(**{n: np.array([row[n] for row in rows], DTYPES[n]) for n in COLUMNS})


TABLE = ledger_table(events(BLANK, FILL, LATE), ["L"], ["AAPL"])


def test_the_canonical_lines_are_these() -> None:
    """Columns in their order, floats to the last bit, null for none; the digest is their hash."""
    expected = (
        '["L",86400000000,0,"cash",null,null,null,null,null,null,1000,1000,null,null,null,"initial"]\n'
        '["L",86400000000,1,"fill","AAPL","sell",0,"0x1.4000000000000p+3","0x1.999999999999ap-4",'
        '5,95,1095,"-0x1.4000000000000p+3",null,null,null]\n'
    )
    kept = account_events(TABLE)
    columns = {name: kept[name].to_pylist() for name in COLUMNS}
    columns["ts"] = kept["ts"].cast(pa.int64()).to_pylist()
    assert "".join(f"{line}\n" for line in canonical_lines(columns)) == expected
    assert ledger_digest(TABLE) == digest(columns) == hashlib.sha256(expected.encode()).hexdigest()


def test_the_digest_knows_neither_row_order_nor_audit() -> None:
    """Rows in any order; late and duplicate rows tell of the source, not of the account."""
    assert ledger_digest(TABLE.take([2, 1, 0])) == ledger_digest(TABLE)
    assert ledger_digest(TABLE.slice(0, 2)) == ledger_digest(TABLE)
    assert ledger_digest(TABLE.slice(0, 1)) != ledger_digest(TABLE)


@pytest.mark.parametrize("name", [n for n in COLUMNS if n not in ("lane", "kind", "symbol")])
def test_every_column_counts(name: str) -> None:
    """The least change of any column changes the digest."""
    value = FILL[name]
    other = {**FILL, name: 5.0 if value == NULL else np.nextafter(value, 1e9)}
    if np.dtype(DTYPES[name]).kind == "i":
        other[name] = {"side": 1, "reason": 2}.get(name, 7)
    assert ledger_digest(ledger_table(events(BLANK, other), ["L"], ["AAPL"])) != ledger_digest(
        TABLE
    )


def test_the_table_holds_texts_times_and_nulls() -> None:
    """As a user reads it; an audit event has no lane."""
    cash, fill, late = TABLE.to_pylist()
    assert (fill["kind"], fill["side"], fill["symbol"], fill["lane"]) == (
        "fill",
        "sell",
        "AAPL",
        "L",
    )
    assert fill["ts"].isoformat() == "1970-01-02T00:00:00+00:00"
    assert (cash["symbol"], cash["price"], cash["commission"], cash["reason"]) == (
        None,
        None,
        None,
        "initial",
    )
    assert (late["lane"], late["kind"], late["reason"]) == ("", "late", "late")


def test_no_events_are_a_ledger() -> None:
    """With all columns, and the digest of nothing."""
    empty = ledger_table(Events.concat([]), [], [])
    assert (empty.num_rows, empty.column_names) == (0, list(COLUMNS))
    assert ledger_digest(empty) == hashlib.sha256(b"").hexdigest()
