"""What this machine has of what streambt needs, and the fix for what it lacks."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from streambt_spark.errors import JavaMissing
from streambt_spark.masking import mask

__all__ = ["DISTRIBUTION", "EXTRAS", "FREE_MB", "Check", "State", "examine"]

DISTRIBUTION = "streambt-spark"
EXTRAS = {
    "embedded": "a private MongoDB server where no address is given",
    "s3": "snapshots and ledgers on S3",
    "kafka": "live bars from Kafka",
    "report": "report.html",
}
FREE_MB = 2048


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    OPTIONAL = "optional"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found, and the command that mends it."""

    name: str
    state: State
    found: str
    fix: str = ""


def examine(servers: dict[str, str] | None = None) -> list[Check]:
    """Return all checks; `servers` maps a name to the host:port that must answer."""
    checks = [_python(), _java(), *_packages(), *_extras(), _loopback(), _space()]
    return checks + [_server(name, address) for name, address in (servers or {}).items()]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 13):
        return Check("Python", State.OK, version)
    fix = "apt install python3.11 python3.11-venv, or brew install python@3.11"
    return Check("Python", State.MISSING, f"{version}, expected 3.11 or 3.12", fix)


def _java() -> Check:
    from streambt_spark.spark.java import INSTALL, java_version

    try:
        java = java_version()
    except JavaMissing as error:
        return Check("Java", State.MISSING, str(error).partition(";")[0], INSTALL)
    return Check("Java", State.OK, f"{java.version} ({java.path})")


def _packages() -> Iterator[Check]:
    for text in metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            version, good = _installed(requirement)
            state = State.OK if good else State.MISSING
            fix = "" if good else f"pip install '{requirement.name}{requirement.specifier}'"
            yield Check(requirement.name, state, version, fix)


def _extras() -> Iterator[Check]:
    for extra, purpose in EXTRAS.items():
        needed = [
            requirement
            for requirement in map(Requirement, metadata.requires(DISTRIBUTION) or ())
            if requirement.marker is not None
            and f'extra == "{extra}"' in str(requirement.marker).replace("'", '"')
        ]
        results = [_installed(requirement) for requirement in needed]
        versions = ", ".join(f"{r.name} {v}" for r, (v, _) in zip(needed, results, strict=True))
        good = all(good for _, good in results)
        fix = "" if good else f"for {purpose}: pip install '{DISTRIBUTION}[{extra}]'"
        yield Check(f"extra {extra}", State.OK if good else State.OPTIONAL, versions, fix)


def _installed(requirement: Requirement) -> tuple[str, bool]:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return "not installed", False
    if version in requirement.specifier:
        return version, True
    return f"{version}, expected {requirement.specifier}", False


def _loopback() -> Check:
    """Check that a private server can be reached on a free port of this machine."""
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname(), timeout=5),
        ):
            return Check("ports", State.OK, "127.0.0.1 serves and answers")
    except OSError as error:
        return Check("ports", State.MISSING, str(error), "allow connections to 127.0.0.1")


def _space() -> Check:
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free // 2**20
    if free >= FREE_MB:
        return Check("temporary space", State.OK, f"{free:,} MB in {folder}")
    fix = f"free {FREE_MB:,} MB there, or set TMPDIR to another folder"
    return Check("temporary space", State.MISSING, f"{free:,} MB in {folder}", fix)


def _server(name: str, address: str) -> Check:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return Check(name, State.OK, f"{address} answers")
    except (OSError, ValueError) as error:
        return Check(
            name, State.MISSING, mask(f"{address}: {error}"), f"start {name}, or mend its address"
        )
