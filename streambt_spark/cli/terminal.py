"""The console that all is drawn on."""

from __future__ import annotations

import errno
import os

from rich.console import Console


class Terminal(Console):
    """A console that raises BrokenPipeError where nobody reads it any more.

    Rich's own points the standard output, whichever stream has broken, at nothing and ends the
    process: a remark must end no run, and take away no results.
    """

    def on_broken_pipe(self) -> None:
        """Raise what rich has caught."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
