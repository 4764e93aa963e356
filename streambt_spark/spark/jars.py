"""The jars a run needs, resolved once and then found without the network.

Spark's own `spark.jars.packages` asks Ivy at every start and copies each jar, the 600 MB AWS bundle
too, into a temporary folder. In local mode the resolved paths are kept in the user's cache instead
and put on the JVM's class path.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyspark

from streambt_spark.errors import SetupError

IVY_SETTINGS = Path(__file__).with_name("ivysettings.xml")
DELTA = "io.delta:delta-spark_4.2_2.13:4.4.0"
KAFKA = "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0"
S3A = "org.apache.hadoop:hadoop-aws:3.5.0"
EXCLUDED = ("org.apache.hadoop:hadoop-client-api", "org.apache.hadoop:hadoop-client-runtime")
"""For `spark.jars.excludes`: part of Spark already, and a second copy breaks it."""


def coordinates(addresses: Iterable[str], *, kafka: bool) -> tuple[str, ...]:
    """Return the Maven coordinates for tables at these addresses: Delta always, S3A for s3a://."""
    s3a = any(address.startswith(("s3a://", "s3://")) for address in addresses)
    return (DELTA, *([KAFKA] if kafka else []), *([S3A] if s3a else []))


def class_path(packages: tuple[str, ...], java: Path) -> tuple[Path, ...]:
    """Return the local jars of the packages, from the cache or, the first time, from Maven Central.

    Raises SetupError where they are not in the cache and cannot be downloaded.
    """
    cache = cache_dir()
    identity = "\n".join((pyspark.__version__, *packages, IVY_SETTINGS.read_text()))
    listing = cache / f"jars-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.txt"
    if found := _read(listing):
        return found
    with _lock(cache / "jars.lock"):
        jars = _read(listing)  # another process may have been first
        if jars is None:
            jars = _resolve(packages, java)
            part = listing.with_suffix(".part")
            part.write_text("\n".join(map(str, jars)))
            part.replace(listing)
    return jars


def cache_dir() -> Path:
    """Return the user's cache folder of this package, made where it is missing.

    Raises SetupError where it cannot be made.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root, "streambt_spark")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"the cache folder {folder} cannot be made ({error.strerror}); set XDG_CACHE_HOME to a "
            "folder that can be written"
        ) from error
    return folder


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    # Two first runs at once would write the same files into Ivy's cache.
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(listing: Path) -> tuple[Path, ...] | None:
    if not listing.is_file():
        return None
    jars = tuple(map(Path, listing.read_text().splitlines()))
    return jars if jars and all(jar.is_file() for jar in jars) else None


def spark_jars() -> Path:
    """Return the folder of Spark's own jars."""
    return Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent, "jars")


def _resolve(packages: tuple[str, ...], java: Path) -> tuple[Path, ...]:
    with TemporaryDirectory() as folder:
        module, found = Path(folder, "ivy.xml"), Path(folder, "found")
        module.write_text(_ivy_module(packages))
        ivy = ":".join(map(str, spark_jars().glob("ivy-*.jar")))
        command = [str(java), "-cp", ivy, "org.apache.ivy.Main"]
        command += ["-ivy", str(module), "-settings", str(IVY_SETTINGS), "-novalidate", "-warn"]
        command += ["-cache", str(Path.home() / ".ivy2.5.2" / "cache")]
        command += ["-confs", "default", "-types", "jar", "bundle", "-cachepath", str(found)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0 or not found.is_file():
            raise SetupError(
                f"Spark's jars ({', '.join(packages)}) could not be downloaded from Maven Central: "
                f"{_reason(done.stdout + done.stderr)}; the first run needs the network, later "
                "runs do not"
            )
        return tuple(Path(jar) for jar in sorted(found.read_text().strip().split(os.pathsep)))


def _ivy_module(packages: tuple[str, ...]) -> str:
    # Another copy of a jar that Spark has would come first on the class path and break it.
    own = sorted({re.sub(r"-\d[^-]*$", "", jar.stem) for jar in spark_jars().glob("*.jar")})
    wanted = (package.split(":") for package in packages)
    return "\n".join(
        (
            '<ivy-module version="2.0"><info organisation="streambt" module="jars"/>',
            '<configurations><conf name="default"/></configurations><dependencies>',
            *(
                f'<dependency org="{org}" name="{name}" rev="{rev}" conf="default"/>'
                for org, name, rev in wanted
            ),
            *(f'<exclude module="{module}"/>' for module in own),
            "</dependencies></ivy-module>",
        )
    )


def _reason(output: str) -> str:
    wanted = ("unresolved", "not found", "host", "refused", "timed out", "failed")
    lines = [line.strip(" :\t") for line in output.splitlines()]
    telling = [line for line in lines if any(word in line.lower() for word in wanted)]
    return (telling or lines or ["no output"])[0]
