"""The session: whose it is, what it holds, and what is said where it cannot start."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from streambt_spark.core.ledger.fields import REGISTRY
from streambt_spark.errors import JavaMissing, SetupError
from streambt_spark.spark import jars, schemas
from streambt_spark.spark import session as sessions
from streambt_spark.spark.java import java_version
from streambt_spark.spark.session import session
from streambt_spark.streams import schema

ROOT = Path(__file__).parents[2]


def fake_java(folder: Path, text: str, code: int = 0) -> None:
    """Put a `java` into folder/bin that prints `text` and exits with `code`."""
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit {code}\n")
    java.chmod(0o755)


def test_active_session_is_used_and_never_stopped(spark: SparkSession) -> None:
    """A session that is there already is the one used, and lives on."""
    with session(app="other") as same:
        assert same is spark
    assert spark.range(3).count() == 3


def test_session_time_is_utc_and_ui_is_off(spark: SparkSession) -> None:
    """Times are UTC, no port is opened for a UI, and secrets are redacted."""
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.sparkContext.uiWebUrl is None
    redacted = re.compile(spark.sparkContext.getConf().get("spark.redaction.regex") or "")
    for name in ("mongo.uri", "AWS_SECRET_ACCESS_KEY", "kafka.sasl.jaas.config", "api-token"):
        assert redacted.search(name)


def test_workers_run_this_python(spark: SparkSession) -> None:
    """Python workers are the interpreter that runs this test, not the first on PATH."""

    def executable(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for _ in parts:
            yield pd.DataFrame({"path": [sys.executable]})

    rows = spark.range(1, numPartitions=1).mapInPandas(executable, "path string").collect()
    assert [row.path for row in rows] == [sys.executable]


def test_only_the_jars_that_addresses_need() -> None:
    """Delta is always there; Kafka and S3A come only when they are used."""
    assert jars.coordinates(["/data/bars"], kafka=False) == (jars.DELTA,)
    assert jars.coordinates(["/data", "s3a://b/x"], kafka=True) == (
        jars.DELTA,
        jars.KAFKA,
        jars.S3A,
    )


def test_resolved_jars_need_no_ivy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once resolved, jars need no Ivy again; a jar that has vanished does."""
    jar = tmp_path / "delta.jar"
    jar.touch()
    calls = []

    def resolve(packages: tuple[str, ...], java: Path) -> tuple[Path, ...]:
        calls.append(packages)
        jar.touch()
        return (jar,)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jars, "_resolve", resolve)
    for _ in range(2):
        assert jars.class_path((jars.DELTA,), Path("java")) == (jar,)
    assert calls == [(jars.DELTA,)]
    jar.unlink()
    assert jars.class_path((jars.DELTA,), Path("java")) == (jar,)
    assert calls == [(jars.DELTA,)] * 2


def test_jars_without_network_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty cache and no network: one line that names the jars, and nothing cached."""
    settings = tmp_path / "ivysettings.xml"
    settings.write_text(
        '<ivysettings><settings defaultResolver="no"/><resolvers><ibiblio name="no" '
        'm2compatible="true" root="http://127.0.0.1:9/"/></resolvers></ivysettings>'
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(jars, "IVY_SETTINGS", settings)
    with pytest.raises(SetupError, match=r"delta-spark.*could not be downloaded") as caught:
        jars.class_path((jars.DELTA,), java_version().path)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache" / "streambt_spark").glob("*.txt"))


@pytest.mark.parametrize("version", ['openjdk version "17.0.9" 2023', 'java version "21" 2023'])
def test_java_17_and_21_are_accepted(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Java 17 and 21 are what Spark 4.2 runs on."""
    fake_java(tmp_path, version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java_version().major == int(re.findall(r"\d+", version)[0])


@pytest.mark.parametrize(
    ("version", "code", "said"),
    [
        ('openjdk version "11.0.2" 2019', 0, "needs Java 17 or 21, but .* is 11.0.2"),
        ('java version "1.8.0_401"', 0, "is 1.8.0_401"),
        ("Segmentation fault", 139, "gives no version"),
    ],
)
def test_unusable_java_is_refused(
    version: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another Java is refused by name, with the command that installs a right one."""
    fake_java(tmp_path, version, code)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(JavaMissing, match=said) as caught:
        java_version()
    assert "apt-get install openjdk-17-jre-headless" in str(caught.value)


def test_no_java_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Java on PATH, and a JAVA_HOME without one, are said before Spark starts."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(JavaMissing, match="no java on PATH"):
        java_version()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(JavaMissing, match="JAVA_HOME is"):
        java_version()


def test_s3a_settings_hold_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3's address comes from the environment; its keys never enter a setting."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:8333")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    settings = sessions._s3a(["s3a://bucket/bars"])
    assert settings["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:8333"
    assert settings["spark.hadoop.fs.s3a.path.style.access"] == "true"
    assert settings["spark.hadoop.fs.s3a.connection.ssl.enabled"] == "false"
    assert "Environment" in settings["spark.hadoop.fs.s3a.aws.credentials.provider"]
    assert not {"AKIDEXAMPLE", "s3cr3t"} & set(settings.values())
    assert sessions._s3a(["/data"]) == {}


def test_conf_copies_equal_the_package() -> None:
    """The files in conf/ that users give to spark-submit are those the package uses."""
    for name in ("ivysettings.xml", "log4j2.properties"):
        packaged = ROOT / "streambt_spark" / "spark" / name
        assert (ROOT / "conf" / name).read_bytes() == packaged.read_bytes()


def test_spark_defaults_equal_the_session_settings() -> None:
    """conf/spark-defaults.conf gives spark-submit what a session of ours has."""
    text = (ROOT / "conf" / "spark-defaults.conf").read_text()
    lines = [line.split(None, 1) for line in text.splitlines() if line and line[0] != "#"]
    found = dict(lines)
    assert {name: found.get(name) for name in sessions.SETTINGS} == sessions.SETTINGS
    assert found["spark.jars.packages"] == f"{jars.DELTA},{jars.KAFKA}"
    assert found["spark.jars.excludes"] == ",".join(jars.EXCLUDED)


def test_schemas_follow_the_core() -> None:
    """The ledger's columns are the core's, in their order, and money is an integer."""
    assert tuple(schemas.LEDGER.names) == REGISTRY.names
    assert {schemas.LEDGER[name].dataType.simpleString() for name in ("cash", "equity")} == {
        "bigint"
    }
    assert schemas.LEDGER["ts"].dataType.simpleString() == "timestamp"
    assert schemas.STREAM.names == schema.STREAM.names
    assert schemas.STREAM["expires"].dataType.simpleString() == "timestamp"


@pytest.mark.spark
def test_own_session_is_quiet_and_stopped(tmp_path: Path) -> None:
    """A session of our own prints nothing, is stopped, and a later one may need more jars."""
    code = """if True:
    from pyspark.sql import SparkSession
    from streambt_spark.spark.session import session
    for kafka in (False, True):
        with session(master="local[1]", kafka=kafka) as spark:
            spark.range(3).write.format("delta").mode("overwrite").save("table")
            assert spark.read.format("delta").load("table").count() == 3
        assert SparkSession.getActiveSession() is None
    """
    env = {k: v for k, v in os.environ.items() if k != "PYSPARK_PYTHON"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


@pytest.mark.spark
def test_the_first_jvm_keeps_its_classes_for_the_next(tmp_path: Path) -> None:
    """The second start takes Spark's classes from the archive that the first one wrote.

    An archive that was damaged since is deleted, and the start goes on without.
    """
    code = """if True:
    import sys
    from streambt_spark.spark.session import session
    kafka = "kafka" in sys.argv
    with session(master="local[1]", kafka=kafka, keep_classes=True) as spark:
        assert spark.range(3).count() == 3
    """
    log = tmp_path / "classes.log"
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    for arguments in ([], ["kafka"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "")
        env["JDK_JAVA_OPTIONS"] = f"-Xlog:class+load:file={log}"
    (archive,) = tmp_path.glob("streambt_spark/classes-*.jsa")
    loaded = [line for line in log.read_text().splitlines() if " org.apache.spark.sql." in line]
    archived = sum("source: shared objects file (top)" in line for line in loaded)
    assert archived > 3000
    assert sum("source: file:" in line for line in loaded) < archived / 100
    archive.chmod(0o644)
    with archive.open("r+b") as file:
        file.truncate(archive.stat().st_size // 4)
    del env["JDK_JAVA_OPTIONS"]
    done = subprocess.run(
        [sys.executable, "-c", code, "kafka"], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not archive.exists()


def test_a_jvm_that_does_not_start_says_why(tmp_path: Path) -> None:
    """What Java itself says is in the line, and its temporary folder is gone."""
    code = """if True:
    from streambt_spark.spark.session import session
    try:
        with session(master="local[1]", conf={"spark.driver.memory": "8m"}):
            pass
    except Exception as error:
        print(type(error).__name__, error)
    """
    env = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("SetupError Spark's Java process did not start with ")
    assert "larger value than the maximum heap size" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.spark
def test_a_jvm_that_has_ended_is_followed_by_another(tmp_path: Path) -> None:
    """Killed while it was idle, or ended in a hurry; but never under a session of the caller's."""
    code = """if True:
    from pathlib import Path
    from streambt_spark.spark import jvm
    from streambt_spark.spark.archive import ClassArchive
    from streambt_spark.spark.session import session
    def count():
        with session(master="local[1]") as spark:
            return spark.range(3).count()
    assert count() == 3
    jvm.current().gateway.proc.kill()
    assert count() == 3
    jvm.current().archive = ClassArchive(Path("none"))
    with session(master="local[1]") as spark:
        jvm.current().hurry()
        assert spark.range(3).count() == 3
    jvm.current().hurry()
    assert jvm.current() is None
    assert count() == 3
    """
    env = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("master", "tries"),
    [
        ("local", "local[1,4]"), ("local[2]", "local[2,4]"), ("local[*]", "local[*,4]"),
        ("local[2,1]", "local[2,1]"), ("local-cluster[2,1,512]", "local-cluster[2,1,512]"),
        ("spark://host:7077", "spark://host:7077"),
    ],
)  # fmt: skip
def test_a_task_is_tried_again_in_local_mode(master: str, tries: str) -> None:
    """Where the master does not say how often: a worker that was killed must not end the run."""
    assert sessions.with_retries(master) == tries


@pytest.mark.spark
def test_spark_submit_keeps_what_it_was_given(tmp_path: Path) -> None:
    """Under spark-submit its jars and settings are used, and ours only where it has none."""
    job = tmp_path / "job.py"
    job.write_text(
        """if True:
        import sys
        from streambt_spark.spark.session import session
        with session() as spark:
            spark.range(3).write.format("delta").save(sys.argv[1])
            confs = [spark.conf.get(f"spark.sql.{n}") for n in ("shuffle.partitions", "extensions")]
            print(spark.read.format("delta").load(sys.argv[1]).count(), *confs, spark.conf.get(
                "spark.sql.execution.arrow.maxRecordsPerBatch"))
            rows = spark.range(1).mapInPandas(
                lambda parts: (p.assign(id=p.id, path=sys.executable) for p in parts),
                "id long, path string",
            )
            assert rows.collect()[0].path == sys.executable
        """
    )
    submit = shutil.which("spark-submit", path=str(Path(sys.executable).parent))
    assert submit
    command = [submit, "--properties-file", "conf/spark-defaults.conf"]
    command += ["--conf", "spark.sql.shuffle.partitions=3", str(job), str(tmp_path / "table")]
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYSPARK")}
    env |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == [
        "3", "3", sessions.SETTINGS["spark.sql.extensions"], "100000",
    ]  # fmt: skip


@pytest.mark.spark
def test_a_session_lives_as_long_as_its_last_user() -> None:
    """The thread that has started it may leave before another one that came to work in it."""
    code = """if True:
    import threading
    from streambt_spark.spark.session import in_use, session
    came, left = threading.Event(), threading.Event()
    counts = []
    def work():
        with session() as spark:
            came.set()
            left.wait()
            counts.append(spark.range(3).count())
        counts.append(in_use())
    with session(master="local[1]"):
        other = threading.Thread(target=work)
        other.start()
        came.wait()
    left.set()
    other.join()
    print(counts)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[3, False]\n", "")
