"""The type of NumPy records in compiled code, where a field is an attribute."""

from __future__ import annotations

from typing import Any, TypeAlias

Record: TypeAlias = Any
"""One record: numba passes it by reference, so a function may write into it."""

Records: TypeAlias = Any
"""An array of records."""
