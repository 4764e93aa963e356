"""Readiness of a server: polled, with a deadline."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from subprocess import Popen


def free_ports(count: int) -> list[int]:
    """Return distinct ports of 127.0.0.1 that nothing listens on just now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def await_ready(
    server: Popen[bytes], ready: Callable[[], object], name: str, seconds: float = 90
) -> None:
    """Poll until `ready` returns without an error; fail when the server ends or time is up."""
    deadline = time.monotonic() + seconds
    while True:
        assert server.poll() is None, f"{name} ended with exit code {server.returncode}"
        try:
            ready()
        except Exception as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} is not ready after {seconds} s") from error
            time.sleep(0.1)
        else:
            return
