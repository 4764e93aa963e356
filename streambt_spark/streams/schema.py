"""The names of a stream's columns, and of those of the packs that its rows travel in."""

from __future__ import annotations

from streambt_spark.core.market.slices import Mark

SYMBOL = "symbol"
TS = "ts"
INTERVAL = "interval"
SEQ = "seq"
MARK = "mark"

MARKS = (*(mark.name.lower() for mark in Mark), "malformed")
"""What a stream row is.

A heartbeat says that its symbol has shown all its bars up to and including its time, an end that
no more will come; where symbol is null both speak for every symbol. A malformed row could not be
parsed; its symbol and time are there only where they were readable.
"""
BAR, HEARTBEAT, END = MARKS[: len(Mark)]
MALFORMED = MARKS[-1]

ROWS, COUNT, FIRST, LAST = "rows", "count", "first", "last"
"""A pack: many rows in one value, with their number and their first and last time (UTC µs)."""
