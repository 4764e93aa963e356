"""The Java that Spark will use, checked before Spark starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from streambt_spark.errors import JavaMissing

SUPPORTED = (17, 21)
INSTALL = "apt-get install openjdk-17-jre-headless, or brew install openjdk@17"


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime: the path of `java`, its full version and its major version."""

    path: Path
    version: str
    major: int


def java_version() -> Java:
    """Return the Java that Spark will start: JAVA_HOME/bin/java where that is set, else `java`.

    Raises JavaMissing, with the command that installs one, where there is none, where it does not
    run, or where it is neither 17 nor 21.
    """
    path = _find_java()
    try:
        done = subprocess.run(  # noqa: S603 - the user's own Java
            [path, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JavaMissing(f"{path} does not run ({error}); {INSTALL}") from error
    match = re.search(r'version "((\d+)[^"]*)"', done.stderr + done.stdout)
    if done.returncode != 0 or match is None:
        said = " ".join((done.stderr + done.stdout).split())[:200]
        raise JavaMissing(
            f"{path} -version gives no version (exit {done.returncode}: {said}); {INSTALL}"
        )
    java = Java(path, match[1], int(match[2]))
    if java.major not in SUPPORTED:
        expected = " or ".join(map(str, SUPPORTED))
        raise JavaMissing(
            f"Spark needs Java {expected}, but {path} is {java.version}; {INSTALL}, "
            "then point JAVA_HOME to it"
        )
    return java


def _find_java() -> Path:
    home = os.environ.get("JAVA_HOME")
    if home:
        path = Path(home, "bin", "java")
        if not path.is_file():
            raise JavaMissing(
                f"JAVA_HOME is {home}, but there is no {path}; unset it, or {INSTALL}"
            )
        return path
    found = shutil.which("java")
    if found is None:
        raise JavaMissing(f"Spark needs Java 17 or 21 and there is no java on PATH; {INSTALL}")
    return Path(found)
