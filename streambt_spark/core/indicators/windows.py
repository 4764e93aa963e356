"""Compiled loops over symbols, functions and windows: what TA-Lib's functions cost and little more.

A slot is a row of `new`: the values of one column or output at the new bars, symbol after symbol.
The new bars of symbol s are `start[s]` to `start[s + 1]`; the first of them is the symbol's bar
number `count[s]`. The bars before it that some function still reads are in `past`, a flat array, at
`past_at[slot, s]` and `past_size[slot, s]` many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from streambt_spark.core.indicators import native
from streambt_spark.core.indicators.accumulators import go_on
from streambt_spark.core.records import record_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS, OUTPUTS = 5, 4
"""The most columns that a function of TA-Lib takes, and the most arrays that it gives."""

REAL, INTEGER, BARS_AGO = range(3)
"""What a C function writes, and what a reader gets: numbers, or bars since a position."""

NODE = record_of(
    ("holder", "i8"),
    ("span", "i8"),
    ("warmup", "i8"),
    ("lookback", "i8"),
    ("columns", "i8"),
    ("outputs", "i8"),
    ("column_slot", "i8", (COLUMNS,)),
    ("column_input", "i8", (COLUMNS,)),
    ("column_place", "i8", (COLUMNS,)),
    ("output_slot", "i8", (OUTPUTS,)),
    ("output_kind", "i8", (OUTPUTS,)),
)
"""An anchored function of TA-Lib with its slots; see `native.Binding`."""

TOTAL = record_of(
    ("code", "i8"),
    ("columns", "i8"),
    ("column_slot", "i8", (COLUMNS,)),
    ("output_slot", "i8"),
)
"""A running total with its slots; its code is the place in `accumulators.ACCUMULATED`."""

READER = record_of(("slot", "i8"), ("span", "i8"), ("warmup", "i8"))
"""A function that reads the past of a slot."""


@njit(cache=True)
def anchor(n: int, span: int, warmup: int) -> int:
    """Return the first bar that the value at bar n is computed from."""
    return max(0, n // span * span - warmup)


@njit(cache=True)
def sizes_of_past(
    count: NDArray[np.int64], slots: int, readers: NDArray[np.void]
) -> NDArray[np.int64]:
    """Return how many bars must be kept of each slot and symbol that has shown `count` bars."""
    sizes = np.zeros((slots, len(count)), np.int64)
    for r in range(len(readers)):
        slot, span, warmup = readers[r].slot, readers[r].span, readers[r].warmup
        for s in range(len(count)):
            sizes[slot, s] = max(sizes[slot, s], count[s] - anchor(count[s], span, warmup))
    return sizes


@njit(cache=True)
def places(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each (slot, symbol) begins when all are laid end to end."""
    at = np.empty(sizes.shape, np.int64)
    total = 0
    for slot in range(sizes.shape[0]):
        for s in range(sizes.shape[1]):
            at[slot, s] = total
            total += sizes[slot, s]
    return at


@njit(cache=True)
def shift_past(
    new: NDArray[np.float64],
    start: NDArray[np.int64],
    past: NDArray[np.float64],
    past_at: NDArray[np.int64],
    past_size: NDArray[np.int64],
    at: NDArray[np.int64],
    size: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the last `size` bars of each slot and symbol, of those before and the new ones."""
    total = at[-1, -1] + size[-1, -1] if size.size else 0
    out = np.empty(total)
    for slot in range(size.shape[0]):
        for s in range(size.shape[1]):
            length = size[slot, s]
            if not length:
                continue
            fresh = min(length, start[s + 1] - start[s])
            old = length - fresh
            place = at[slot, s]
            source = past_at[slot, s] + past_size[slot, s] - old
            out[place : place + old] = past[source : source + old]
            out[place + old : place + length] = new[slot, start[s + 1] - fresh : start[s + 1]]
    return out


@njit(cache=True)
def run_native(
    nodes: NDArray[np.void],
    new: NDArray[np.float64],
    start: NDArray[np.int64],
    count: NDArray[np.int64],
    past: NDArray[np.float64],
    past_at: NDArray[np.int64],
    past_size: NDArray[np.int64],
    longest: int,
) -> int:
    """Evaluate nodes in their order over the new bars of all symbols, into their slots of `new`.

    `longest` is the length of the longest window. Returns -1, or the number of the node that
    TA-Lib refused. Only to be called where `native.binding` has given the nodes' holders.
    """
    columns, reals = np.empty((COLUMNS, longest)), np.empty((OUTPUTS, longest))
    integers = np.empty((OUTPUTS, longest), np.int32)
    marks, address = np.zeros(2, np.int32), np.zeros(COLUMNS, np.int64)
    for s in range(len(count)):
        if start[s] == start[s + 1]:
            continue
        for k in range(len(nodes)):
            node = nodes[k]
            t, last = count[s], count[s] + start[s + 1] - start[s]
            while t < last:
                since = anchor(t, node.span, node.warmup)
                stop = min(last, (t // node.span + 1) * node.span)
                old = max(0, count[s] - since)
                at = start[s] + since + old - count[s]  # in `new`
                for i in range(node.columns):
                    slot = node.column_slot[i]
                    if old:
                        source = past_at[slot, s] + past_size[slot, s] - old
                        columns[i, :old] = past[source : source + old]
                        columns[i, old : stop - since] = new[slot, at : at + stop - since - old]
                        address[i] = columns[i].ctypes.data
                    else:
                        address[i] = new[slot, at:].ctypes.data
                first = 0
                while first < stop - since:
                    full = True
                    for i in range(node.columns):
                        value = columns[i, first] if old else new[node.column_slot[i], at + first]
                        full &= value == value
                    if full:
                        break
                    first += 1
                to = start[s] + t - count[s]
                rows = stop - since - first
                if rows > 0 and _call(node, address, first, rows, reals, integers, marks) != 0:
                    return k
                head = first + node.lookback if rows > 0 else stop - since
                _store(node, new, to, t - since, stop - since, head, first, reals, integers)
                t = stop
    return -1


@njit(cache=True)
def _call(
    node: Any,
    address: NDArray[np.int64],
    first: int,
    rows: int,
    reals: NDArray[np.float64],
    integers: NDArray[np.int32],
    marks: NDArray[np.int32],
) -> int:
    prices = np.zeros(6, np.int64)
    price = -1
    for i in range(node.columns):
        pointer = address[i] + 8 * first
        if node.column_place[i] < 0:
            native.set_real(node.holder, node.column_input[i], pointer)
        else:
            price = node.column_input[i]
            prices[node.column_place[i]] = pointer
    if price >= 0:
        native.set_prices(
            node.holder, price, prices[0], prices[1], prices[2], prices[3], prices[4], prices[5]
        )
    for i in range(node.outputs):
        if node.output_kind[i] == REAL:
            native.set_real_output(node.holder, i, reals[i].ctypes.data)
        else:
            native.set_integer_output(node.holder, i, integers[i].ctypes.data)
    begin, size = marks.ctypes.data, marks[1:].ctypes.data
    return native.call(node.holder, 0, rows - 1, begin, size)  # type: ignore[no-any-return]


@njit(cache=True)
def _store(
    node: Any,
    new: NDArray[np.float64],
    to: int,
    row: int,
    rows: int,
    head: int,
    first: int,
    reals: NDArray[np.float64],
    integers: NDArray[np.int32],
) -> None:
    """Copy a window's rows from `row` on to `to`; before row `head` there is no value."""
    for i in range(node.outputs):
        slot, kind = node.output_slot[i], node.output_kind[i]
        for r in range(row, min(head, rows)):
            new[slot, to + r - row] = np.nan
        begin = max(head, row)
        if kind == REAL:
            for r in range(begin, rows):
                new[slot, to + r - row] = reals[i, r - head]
        elif kind == INTEGER:
            for r in range(begin, rows):
                new[slot, to + r - row] = integers[i, r - head]
        else:
            for r in range(begin, rows):
                new[slot, to + r - row] = r - first - integers[i, r - head]


@njit(cache=True)
def run_totals(
    nodes: NDArray[np.void],
    new: NDArray[np.float64],
    start: NDArray[np.int64],
    totals: NDArray[np.float64],
) -> None:
    """Add the new bars of all symbols to running totals, float64[node, symbol, STATE]."""
    row = np.empty(COLUMNS)
    for k in range(len(nodes)):
        node = nodes[k]
        for s in range(len(start) - 1):
            for at in range(start[s], start[s + 1]):
                for i in range(node.columns):
                    row[i] = new[node.column_slot[i], at]
                values = row[: node.columns]
                new[node.output_slot, at] = go_on(node.code, totals[k, s], values)


WINDOW = record_of(*((name, "i8") for name in ("symbol", "first", "since", "stop", "at", "begin")))
"""A window of a symbol: its new values are those of bars `first` to `stop`, computed from the bars
`since` on; it lies at row `at` of the joined columns, and rows before `begin` show no number."""


@njit(cache=True)
def list_windows(
    count: NDArray[np.int64], start: NDArray[np.int64], span: int, warmup: int
) -> NDArray[np.void]:
    """Return the windows over the new bars of all symbols, in order, laid end to end."""
    total = 0
    for s in range(len(count)):
        rows = start[s + 1] - start[s]
        if rows:
            total += (count[s] + rows - 1) // span - count[s] // span + 1
    windows = np.empty(total, WINDOW)
    k, at = 0, 0
    for s in range(len(count)):
        t, last = count[s], count[s] + start[s + 1] - start[s]
        while t < last:
            w = windows[k]
            w.symbol, w.first, w.since = s, t, anchor(t, span, warmup)
            w.stop, w.at, w.begin = min(last, (t // span + 1) * span), at, 0
            at += w.stop - w.since
            t = w.stop
            k += 1
    return windows


@njit(cache=True)
def join(
    windows: NDArray[np.void],
    slots: NDArray[np.int64],
    every: bool,
    new: NDArray[np.float64],
    start: NDArray[np.int64],
    count: NDArray[np.int64],
    past: NDArray[np.float64],
    past_at: NDArray[np.int64],
    past_size: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the columns of all windows, and set `at` and `begin` of each window.

    A window begins at the first row in which every (or any) column has a number.
    """
    total = 0
    for w in windows:
        total += w.stop - w.since
    columns = np.empty((len(slots), total))
    at = 0
    for w in windows:
        s = w.symbol
        rows, old = w.stop - w.since, max(0, count[s] - w.since)
        for i in range(len(slots)):
            slot = slots[i]
            source = past_at[slot, s] + past_size[slot, s] - old
            columns[i, at : at + old] = past[source : source + old]
            source = start[s] + w.since + old - count[s]
            columns[i, at + old : at + rows] = new[slot, source : source + rows - old]
        begin = 0
        while begin < rows:
            numbers = 0
            for i in range(len(slots)):
                numbers += columns[i, at + begin] == columns[i, at + begin]
            if numbers == len(slots) or (numbers and not every):
                break
            begin += 1
        w.at, w.begin = at, begin
        at += rows
    return columns


@njit(cache=True)
def leading(
    new: NDArray[np.float64],
    slots: NDArray[np.int64],
    start: NDArray[np.int64],
    begun: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return how many of each symbol's new bars come before its first number in any slot.

    `begun` tells whether a symbol has shown a number; it is brought up to date.
    """
    hidden = np.zeros(len(begun), np.int64)
    for s in range(len(begun)):
        at = start[s]
        while not begun[s] and at < start[s + 1]:
            for slot in slots:
                begun[s] |= new[slot, at] == new[slot, at]
            at += not begun[s]
        hidden[s] = at - start[s]
    return hidden


@njit(cache=True)
def cells(present: NDArray[np.bool_], late: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each new bar, symbol after symbol, its cell of [symbol, slice], -1 if it is late.

    `late` counts the late bars of each symbol, which come before those of the slices.
    """
    slices, symbols = present.shape
    out = np.empty(present.sum() + late.sum(), np.int64)
    at = 0
    for s in range(symbols):
        out[at : at + late[s]] = -1
        at += late[s]
        for t in range(slices):
            if present[t, s]:
                out[at] = s * slices + t
                at += 1
    return out
