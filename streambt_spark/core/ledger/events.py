"""The ledger: what happened to an account, one event a record.

An event belongs to a lane (one strategy with its parameters and its portfolio), carries the time
of its slice and a number `seq` that counts the lane's events from 0 without a gap. Money is an
int64 count of the currency's minor unit (cents), prices and quantities are float64. What each kind
of event carries is in `fields`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streambt_spark.core.ledger.fields import EVENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Events as records of codes, each lane's in the order of its numbers.

    A field is a view by its name: `events.lane` points into the plan's lanes (-1 for an audit
    event), `events.symbol` into the universe, `events.currency` into the plan's currencies,
    `events.text` into `texts`.
    """

    records: NDArray[np.void]
    texts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    def __getattr__(self, name: str) -> NDArray[Any]:
        if name.startswith("_") or name not in (EVENT.names or ()):
            raise AttributeError(f"events have no field {name!r}")
        view: NDArray[Any] = self.records[name]
        return view

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Events:
        """Return the events that a NumPy index, mask or slice selects."""
        return Events(self.records[index], self.texts)

    def with_column(self, name: str, values: object) -> Events:
        """Return the events with other values in a field."""
        records = self.records.copy()
        records[name] = values
        return Events(records, self.texts)

    @classmethod
    def empty(cls) -> Events:
        """Return no events."""
        return cls(np.empty(0, EVENT))

    @classmethod
    def concat(cls, parts: Sequence[Events]) -> Events:
        """Return the events of all parts, in order."""
        parts = [part for part in parts if len(part)]
        if len(parts) < 2:
            return parts[0] if parts else cls.empty()
        if not any(part.texts for part in parts):
            return cls(_joined([part.records for part in parts]))
        texts = {text: None for part in parts for text in part.texts}
        code = {text: number for number, text in enumerate(texts)}
        return cls(_joined([_recoded(part, code) for part in parts]), tuple(texts))


def _joined(parts: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    # As bytes: NumPy compares the types of records field by field before it joins them.
    data = [np.ascontiguousarray(part).view(np.uint8) for part in parts]
    joined: NDArray[np.void] = np.concatenate(data).view(EVENT)
    return joined


def _recoded(events: Events, code: dict[str, int]) -> NDArray[np.void]:
    """Return records whose texts have other codes; -1, no text, stays."""
    if not events.texts:
        return events.records
    codes = np.array([*(code[text] for text in events.texts), -1], np.int32)
    return events.with_column("text", codes[events.text]).records
