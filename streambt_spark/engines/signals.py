"""Ctrl-C and SIGTERM while a job works: noted, and raised again once the job has stopped.

An exception in the midst of a call to the JVM would break the connection that stops the query, and
while the JVM starts it would leave it behind.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether a signal has asked the job to stop, and which came first."""

    def __init__(self) -> None:
        self._asked = Event()
        self.signal: int | None = None

    def listen(self) -> None:
        """Note the signals from now on; again where another has taken them, as Spark does."""
        if current_thread() is main_thread():  # only there handlers may be set
            for number in SIGNALS:
                signal.signal(number, lambda number, _: self.ask(number))

    def ask(self, number: int) -> None:
        """Note a signal."""
        self.signal = self.signal or number
        self._asked.set()

    @property
    def asked(self) -> bool:
        """Whether the job is to stop."""
        return self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for a signal; return whether one has come."""
        return self._asked.wait(seconds)

    def forgive(self) -> None:
        """Raise nothing in the end: the job has done what the signal asked for."""
        self.signal = None


@contextmanager
def noted() -> Iterator[Stop]:
    """Yield what notes the signals; at the end the first one comes again, to whom it was meant for.

    Whatever the block raises after a signal is a consequence of it and is not told. In another than
    the main thread, which alone is told of signals, nothing is noted.
    """
    stop = Stop()
    if current_thread() is not main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop.listen()
    try:
        yield stop
    except Exception:
        if stop.signal is None:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop.signal is not None:
        signal.raise_signal(stop.signal)
