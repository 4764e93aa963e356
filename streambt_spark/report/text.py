"""Numbers as a reader expects them: a true minus sign, grouped thousands, a dash for none."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterator

NONE = "\N{EN DASH}"


def number(value: object, digits: int = 2) -> str:
    """Return a number with grouped thousands and fixed decimals."""
    if not isinstance(value, Real) or value != value:
        return NONE
    rounded = round(float(value), digits) + 0.0  # no minus before a zero
    return _typeset(f"{rounded:,.{digits}f}")


def signed(value: object, digits: int = 2) -> str:
    """Return a number with its sign, but for zero."""
    text = number(value, digits)
    return f"+{text}" if isinstance(value, Real) and float(value) > 0 else text


def percent(value: object, digits: int = 2) -> str:
    """Return a fraction as a percentage."""
    return NONE if _missing(value) else number(float(str(value)) * 100, digits) + " %"


def signed_percent(value: object, digits: int = 2) -> str:
    """Return a fraction as a percentage with its sign."""
    return NONE if _missing(value) else signed(float(str(value)) * 100, digits) + " %"


def quantity(value: float) -> str:
    """Return a quantity with the decimals it has."""
    return _typeset(f"{value:,.10g}")


def price(value: float) -> str:
    """Return a price with the decimals it has, two at least."""
    return _typeset(f"{value:,.2f}" if round(value, 2) == value else f"{value:,.10g}")


def moment(value: object) -> str:
    """Return a time in UTC, the date alone at midnight."""
    if _missing(value):
        return NONE
    ts = pd.Timestamp(str(value))
    return (
        f"{ts:%Y-%m-%d}" if ts == ts.normalize() else f"{ts:%Y-%m-%d %H:%M:%S}".removesuffix(":00")
    )


def days(value: object) -> str:
    """Return a number of days, in hours or minutes where it is short."""
    if _missing(value):
        return NONE
    count = float(str(value))
    for unit, size in (("days", 1.0), ("hours", 24.0), ("minutes", 1440.0)):
        if abs(count) * size >= 1 or unit == "minutes":
            break
    return f"{number(count * size, 1)} {unit}"


def flatten(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, text) of every value in nested settings."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", NONE if value is None else str(value)


def _typeset(digits: str) -> str:
    return digits.replace("-", "\N{MINUS SIGN}")


def _missing(value: object) -> bool:
    return value is None or value != value
