"""Open lots: rows are used again, grow when asked, and keep the order of the fills."""

from __future__ import annotations

import numpy as np
import pytest

from streambt_spark.core.ledger.lots import (
    ROOM,
    Lots,
    close,
    enter,
    oldest,
    open_lots,
    settle,
    with_room,
)


def take_in(lots: Lots, number: int, side: int, quantity: float, symbol: int = 0) -> list[int]:
    """Take in a fill and return the numbers of the fills whose lots it closed."""
    row, closed = enter(lots, number, number, side, quantity, 0, 0), []
    while (lot := oldest(lots, symbol, row)) >= 0:
        closed.append(int(lots.rows["fill"][lot]))
        close(lots, symbol, lot, row)
    settle(lots, symbol, row)
    return closed


def test_rows_are_used_again() -> None:
    """A thousand round trips need the room of one open lot and the fill that closes it."""
    lots = open_lots(symbols=1, room=2)
    for number in range(0, 2_000, 2):
        assert take_in(lots, number, 1, 1.0) == []
        assert take_in(lots, number + 1, -1, 1.0) == [number]
    assert (len(lots.rows), lots.free[ROOM]) == (2, 2)


def test_more_room_keeps_the_open_lots() -> None:
    """Lots opened before and after growing are closed in the order they were opened."""
    lots = open_lots(symbols=2, room=3)
    for number in range(3):
        take_in(lots, number, 1, 1.0, symbol=1)
    assert lots.free[ROOM] == 0
    lots = with_room(lots, 2)
    assert lots.free[ROOM] >= 2
    take_in(lots, 3, 1, 1.0, symbol=1)
    assert take_in(lots, 4, -1, 4.0, symbol=1) == [0, 1, 2, 3]
    assert lots.free[ROOM] == len(lots.rows)


def test_room_that_is_there_is_not_made_again() -> None:
    """Asking for the room there is gives the same lots, so a kernel may ask before each slice."""
    lots = open_lots(symbols=1, room=4)
    assert with_room(lots, 4) is lots
    assert len(with_room(lots, 5).rows) == 8  # doubled, so that growing costs little in the end


@pytest.mark.parametrize("symbols", [1, 3])
def test_no_lots(symbols: int) -> None:
    """A new lane has no lots and no room."""
    lots = open_lots(symbols)
    assert (len(lots.rows), lots.free.tolist()) == (0, [-1, 0])
    assert np.all(lots.queues == -1)
