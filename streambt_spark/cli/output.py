"""What commands print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 200
"""Columns where the output is no terminal: a line must not break inside a value."""


def console() -> Console:
    """Return the console for results (standard output)."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE, soft_wrap=True, highlight=False)
