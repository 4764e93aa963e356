"""Ctrl-C and SIGTERM while a job works: noted, and raised again once the job has stopped.

An exception in the midst of a call to the JVM would break the connection that stops the query, and
while the JVM starts it would leave it behind.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from typing import Any

from streambt_spark.spark.failures import lost

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether a signal has asked the job to stop, and which came first.

    `before` are the handlers that the signals had. One that was ignored asks nothing, and one whose
    handler is not Python's, which could not be put back, is left to whom it belongs.
    """

    def __init__(self, before: Mapping[signal.Signals, Any] | None = None) -> None:
        self._asked = Event()
        self._before = before or {}
        self.signal: int | None = None

    def listen(self) -> None:
        """Note the signals from now on; again where another has taken them, as Spark does."""
        if current_thread() is not main_thread():  # only there handlers may be set
            return
        for number in SIGNALS:
            before = self._before.get(number, signal.SIG_DFL)
            if before is signal.SIG_IGN:
                signal.signal(number, signal.SIG_IGN)
            elif before is not None:
                signal.signal(number, lambda number, _: self.ask(number))

    def restore(self) -> None:
        """Give the signals back the handlers that they had."""
        for number, before in self._before.items():
            if before is not None:
                signal.signal(number, before)

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

    Whatever the block raises after a signal is a consequence of it and is not told. Raises RunLost
    where the signal's handler returns, for the job was stopped whatever the handler makes of it. A
    signal that is ignored stays so. In another than the main thread, which alone is told of
    signals, nothing is noted.
    """
    if current_thread() is not main_thread():
        yield Stop()
        return
    stop = Stop({number: signal.getsignal(number) for number in SIGNALS})
    stop.listen()
    try:
        yield stop
    except Exception:
        if stop.signal is None:
            raise
    finally:
        stop.restore()
    if stop.signal is not None:
        signal.raise_signal(stop.signal)
        raise lost(f"stopped by {signal.Signals(stop.signal).name}")
