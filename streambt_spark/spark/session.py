"""The Spark session a run works in: the caller's where there is one, else one of its own."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession
from pyspark.sql.types import NumericType

from streambt_spark.errors import SetupError
from streambt_spark.spark import jvm
from streambt_spark.spark.archive import ClassArchive
from streambt_spark.spark.jars import (
    DELTA,
    EXCLUDED,
    IVY_SETTINGS,
    cache_dir,
    class_path,
    coordinates,
    spark_jars,
)
from streambt_spark.spark.java import java_version
from streambt_spark.spark.schemas import LEDGER

LOG4J = Path(__file__).with_name("log4j2.properties")
REDACTED = "(?i)secret|password|passwd|token|access[._-]?key|uri|sasl|credential"
"""Settings whose values Spark itself must not show, in its UI or its logs."""

# A dictionary of numbers that hardly repeat costs its writing and is thrown away half way.
_PLAIN_NUMBERS = {
    f"spark.hadoop.parquet.enable.dictionary#{field.name}": "false"
    for field in LEDGER
    if isinstance(field.dataType, NumericType)
}
SETTINGS: dict[str, str] = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.snapshotPartitions": "1",  # 50 by default, for logs of a few rows
    # Files are skipped by lane, ts, seq, kind and symbol; other columns need no statistics.
    "spark.databricks.delta.properties.defaults.dataSkippingNumIndexedCols": "5",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    "spark.redaction.regex": REDACTED,
    "spark.sql.redaction.options.regex": REDACTED,
    **_PLAIN_NUMBERS,
    # Spark's default counts nanoseconds, which end in 2262 and are read as another year.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.memory": "2g",
}
"""What every session of ours has, unless the caller's `conf` says otherwise."""

_CONTEXT_LOGGERS = ("DataFrameQueryContextLogger", "SQLQueryContextLogger")
TASK_TRIES = 4
"""How often a task may be tried before it fails its job, as on a cluster: a worker can be killed.
In local mode Spark tries once, unless its master says otherwise."""

_guard = threading.Lock()
_users: Counter[SparkContext] = Counter()
"""How many work in a context that was started here: the last one stops it."""


@contextmanager
def session(
    *,
    app: str = "streambt",
    addresses: Iterable[str] = (),
    kafka: bool = False,
    master: str | None = None,
    conf: Mapping[str, str] | None = None,
    keep_classes: bool = False,
) -> Iterator[SparkSession]:
    """Yield the active session, or a new one that is stopped at the end.

    A new one that other threads have come to work in meanwhile is stopped at the end of the last.

    A new session has the jars that the `addresses` of its tables need: Delta always, S3A for s3a://
    and, with `kafka`, Spark's Kafka source. The master is `master`, else SPARK_MASTER, else Spark's
    own configuration, else local[*]. S3's endpoint, region and credentials come from the AWS_*
    variables of the environment alone, and must be there before the session starts. With
    `keep_classes`, meant for a whole job, a first JVM writes its classes to the cache as it ends.

    Raises JavaMissing without Java 17 or 21, SetupError where jars or Spark itself cannot be had.
    """
    with _guard:
        spark = _active()
        begun = spark is None
        if spark is None:
            addresses = tuple(addresses)
            settings = {"spark.app.name": app, **SETTINGS, **_s3a(addresses)}
            packages = coordinates(addresses, kafka=kafka)
            spark = _start(settings, packages, master, dict(conf or {}), keep_classes=keep_classes)
        own = _enter(begun=begun)
    try:
        yield spark
    finally:
        with _guard:
            if _leave(own):
                _stop(spark)


def in_use() -> bool:
    """Return whether this process has a Spark context, whoever has started it."""
    return SparkContext._active_spark_context is not None


def _enter(*, begun: bool) -> SparkContext | None:
    """Count one more user of the context; return None where it is the caller's, who stops it."""
    context = SparkContext._active_spark_context
    if context is None or not (begun or context in _users):
        return None
    _users[context] += 1
    return context


def _leave(context: SparkContext | None) -> bool:
    """Count one user less; return whether it was the last one of a context that is ours."""
    if context is None:
        return False
    _users[context] -= 1
    if _users[context]:
        return False
    del _users[context]
    return True


def _stop(spark: SparkSession) -> None:
    try:
        spark.stop()
    except Exception:
        started = jvm.current()
        if started is None or started.ended() is None:
            raise
        started.forget()


def _active() -> SparkSession | None:
    if "DATABRICKS_RUNTIME_VERSION" in os.environ or "SPARK_REMOTE" in os.environ:
        return SparkSession.builder.getOrCreate()
    if SparkContext._active_spark_context is None:
        return None
    return SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()


def _start(
    settings: dict[str, str],
    packages: tuple[str, ...],
    master: str | None,
    conf: Mapping[str, str],
    *,
    keep_classes: bool,
) -> SparkSession:
    for name in _CONTEXT_LOGGERS:  # they print an exception's stack that is raised anyway
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL)
    master = master or conf.get("spark.master") or os.environ.get("SPARK_MASTER")
    if master:
        settings["spark.master"] = master
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        return _build({**_unless_submitted(settings), **conf})
    java = java_version()
    jars: tuple[Path, ...] = ()
    archive = None
    if _is_local(master):
        base = class_path((DELTA,), java.path)
        jars = (*base, *(jar for jar in class_path(packages, java.path) if jar not in base))
        archive = ClassArchive.of(java, [*spark_jars().glob("*.jar"), *base], cache_dir())
        options = archive.options(writable=keep_classes and jars == base)
        settings |= _local_settings(jars, options)
    else:
        settings |= {
            "spark.jars.packages": ",".join(packages),
            "spark.jars.excludes": ",".join(EXCLUDED),
            "spark.jars.ivySettings": str(IVY_SETTINGS),
        }
    settings |= conf
    if _is_local(master):
        settings["spark.master"] = with_retries(master or _configured_master() or "local[*]")
    jvm.start(settings, frozenset(jars), java, archive)
    return _build(settings)


def _unless_submitted(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that spark-submit, which has started the JVM, was not given."""
    SparkContext._ensure_initialized()
    submitted = SparkConf()
    if _is_local(submitted.get("spark.master")):
        os.environ["PYSPARK_PYTHON"] = sys.executable
    return {name: value for name, value in settings.items() if not submitted.contains(name)}


def _is_local(master: str | None) -> bool:
    return (master or _configured_master() or "local").startswith("local")


def with_retries(master: str) -> str:
    """Return a local master that tries a task TASK_TRIES times, where it does not say how often."""
    found = re.fullmatch(r"local(?:\[\s*(\d+|\*)\s*\])?", master)
    return f"local[{found[1] or 1},{TASK_TRIES}]" if found else master


def _configured_master() -> str | None:
    folder = os.environ.get("SPARK_CONF_DIR") or Path(os.environ.get("SPARK_HOME", ""), "conf")
    defaults = Path(folder, "spark-defaults.conf")
    if "MASTER" in os.environ or not defaults.is_file():
        return os.environ.get("MASTER")
    lines = (line.replace("=", " ").split() for line in defaults.read_text().splitlines())
    return next((words[1] for words in lines if words[:1] == ["spark.master"]), None)


def _local_settings(jars: Sequence[Path], java_options: Sequence[str]) -> dict[str, str]:
    # A worker takes the first python3 on PATH, which need not be this one.
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    # What Arrow's own pool or a further arena of malloc keeps, no worker could give back.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    # Ours would come before Spark's own, and some bundle old copies of what Spark has.
    ordered = (spark_jars() / "*", *jars)
    logging_options = f"-Dlog4j2.configurationFile={LOG4J.as_uri()}"
    return {
        "spark.driver.extraClassPath": os.pathsep.join(map(str, ordered)),
        "spark.driver.extraJavaOptions": " ".join(
            (*_collector(os.cpu_count() or 1), logging_options, *java_options)
        ),
        # Packs outside the heap are gone with their task; inside, they wait for a collection.
        "spark.memory.offHeap.enabled": "true",
        "spark.memory.offHeap.size": "1g",
        "spark.buffer.pageSize": "1m",
        "spark.driver.host": "127.0.0.1",
        "spark.python.daemon.module": "streambt_spark.spark.daemon",
        "spark.driver.bindAddress": "127.0.0.1",
    }


def _collector(cores: int) -> tuple[str, ...]:
    """Return the options of Java's collector: the memory of a run must not grow with its length.

    Left to itself the collector makes the young generation as large as what passes through it, and
    lets what a task needs for a second pile up in the old one. Here few objects survive the young
    generation, so the old one stays near what is alive.
    """
    young = min(48 * cores, 256)  # with the old one, less than the 450 MB that Spark asks for
    return (
        "-XX:+UseParallelGC",
        "-XX:-UseAdaptiveSizePolicy",
        f"-Xmn{young}m",
        "-XX:SurvivorRatio=3",
        "-XX:InitialTenuringThreshold=15",
        f"-Xms{young + 128}m",
        "-XX:+IgnoreUnrecognizedVMOptions",  # the next one is of Java 17.0.9
        "-XX:TrimNativeHeapInterval=500",
    )


def _s3a(addresses: Iterable[str]) -> dict[str, str]:
    if not any(address.startswith(("s3a://", "s3://")) for address in addresses):
        return {}
    env = os.environ
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1"
    settings = {
        "endpoint.region": region,
        "impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
    }
    if endpoint:
        settings |= {
            "endpoint": endpoint,
            "path.style.access": "true",
            "connection.ssl.enabled": str(endpoint.startswith("https://")).lower(),
        }
    if "AWS_ACCESS_KEY_ID" in env:
        settings["aws.credentials.provider"] = (
            "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider"
        )
    return {f"spark.hadoop.fs.s3a.{name}": value for name, value in settings.items()} | {
        "spark.hadoop.fs.s3.impl": settings["impl"]
    }


def _build(settings: Mapping[str, str]) -> SparkSession:
    builder: Any = SparkSession.builder
    for name, value in settings.items():
        builder = builder.config(name, value)
    try:
        spark: SparkSession = builder.getOrCreate()
    except Exception as error:
        raise SetupError(f"Spark did not start: {_first_line(error)}") from error
    _require_delta(spark)
    return spark


def _require_delta(spark: SparkSession) -> None:
    # Spark only warns when an extension's class is missing, and fails much later.
    try:
        spark._jvm.java.lang.Class.forName(  # type: ignore[union-attr]
            SETTINGS["spark.sql.extensions"],
            False,
            spark._jvm.java.lang.Thread.currentThread().getContextClassLoader(),  # type: ignore[union-attr]
        )
    except Py4JError:
        spark.stop()
        raise SetupError(
            "this Spark has no Delta; give spark-submit --properties-file conf/spark-defaults.conf"
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
