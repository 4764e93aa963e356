"""NumPy records: their type in compiled code, where a field is an attribute, and as columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Record: TypeAlias = Any
"""One record: numba passes it by reference, so a function may write into it."""

Records: TypeAlias = Any
"""An array of records."""


def record_of(*fields: tuple[Any, ...]) -> np.dtype[np.void]:
    """Return the type of records with these fields: name, type and, for an array, its shape.

    Each field is aligned, as compiled code reads it fastest.
    """
    return np.dtype(list(fields), align=True)


def columns_of(records: NDArray[np.void]) -> dict[str, NDArray[Any]]:
    """Return records as columns by name."""
    return {name: np.ascontiguousarray(records[name]) for name in records.dtype.names or ()}


def records_of(columns: Mapping[str, NDArray[Any]], dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """Return columns as records.

    Raises KeyError, TypeError or ValueError where a column is missing, or of another form.
    """
    first = columns[(dtype.names or ())[-1]]
    records = np.zeros(first.shape, dtype)
    for name in dtype.names or ():
        column = columns[name]
        if column.dtype != records[name].dtype or column.shape != records[name].shape:
            raise ValueError(f"a column {name} of {column.dtype} {column.shape}")
        records[name] = column
    return records
