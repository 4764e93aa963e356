"""Sessions: which day of trading a bar belongs to, as a rule without clocks or time zones.

A session is numbered by its day from 1970-01-01. A bar of a day or longer belongs to its UTC date,
a shorter one to its local date at the exchange; where trading opens on the evening before, the
evening counts to the next day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from streambt_spark.core.identity import digest_of
from streambt_spark.core.market.bars import DAY_US

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _int64(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """The sessions of an exchange; all times are microseconds. Without arguments, days of UTC.

    `changes` are the UTC times, ascending, at which the local clock's offset from UTC changes;
    `offsets` is one longer: the offset before the first change, and after each. A session opens
    `evening` before local midnight.
    """

    changes: NDArray[np.int64] = field(default_factory=_int64)
    offsets: NDArray[np.int64] = field(default_factory=lambda: _int64(0))
    evening: int = 0

    def __post_init__(self) -> None:
        assert len(self.offsets) == len(self.changes) + 1

    @property
    def identity(self) -> str:
        """The digest of the rule."""
        clock = {"changes": self.changes.tolist(), "offsets": self.offsets.tolist()}
        return digest_of({**clock, "evening": self.evening})

    def session_of(self, ts: NDArray[np.int64], interval_us: int) -> NDArray[np.int64]:
        """Return the session of each bar, given by its start in UTC microseconds."""
        if interval_us >= DAY_US:
            return ts // DAY_US
        offset = self.offsets[np.searchsorted(self.changes, ts, side="right")]
        return (ts + offset + self.evening) // DAY_US


UTC_DAYS = Sessions()
"""Sessions of whoever never closes."""
