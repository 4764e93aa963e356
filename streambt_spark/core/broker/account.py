"""An account's state: its cash by currency, its positions, and what it has told so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.records import record_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

CURRENCIES = 1
"""How many currencies an account holds; more of them need rates."""

ACCOUNT = record_of(
    ("cash", "i8", (CURRENCIES,)),  # minor units of each currency
    ("seq", "i8"),  # the number of the next event
    ("orders", "i8"),  # working orders
    ("shorts", "i8"),  # positions below zero
    ("last_equity", "i8"),  # after the last slice
    ("last_exposure", "i8"),
    ("started", "i1"),  # a slice was seen
    ("disabled", "i1"),  # no more orders are placed
)

POSITION = record_of(
    ("lots", "i8"),
    ("working", "i8"),  # lots of all working orders, below zero for sales
    ("mark", "f8"),  # the price it is valued at: its last fill's, then each close
)


def open_accounts(lanes: int) -> NDArray[np.void]:
    """Return accounts before their first slice."""
    return np.zeros(lanes, ACCOUNT)


def open_positions(lanes: int, symbols: int) -> NDArray[np.void]:
    """Return no positions, [lane, symbol]."""
    return np.zeros((lanes, symbols), POSITION)
