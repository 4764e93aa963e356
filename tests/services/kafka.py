"""A real Kafka broker, KRaft in one process, from the jars of Maven Central."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

from streambt_spark.stores.embedded import guarded
from tests.services.ports import await_ready, free_ports

VERSION = "4.1.0"
CLUSTER_ID = "c3RyZWFtYnQtdGVzdC0wMQ"

_SETTINGS = """<ivysettings>
  <settings defaultResolver="central"/>
  <caches defaultCacheDir="{cache}"/>
  <resolvers><ibiblio name="central" m2compatible="true"/></resolvers>
</ivysettings>
"""

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


@dataclass(frozen=True)
class KafkaBroker:
    """A running broker."""

    bootstrap: str


@contextmanager
def kafka_broker(folder: Path) -> Iterator[KafkaBroker]:
    """Run a broker with its data in `folder`, listening on 127.0.0.1 only."""
    folder.mkdir(parents=True, exist_ok=True)
    broker, controller = free_ports(2)
    properties = folder / "server.properties"
    properties.write_text(
        _PROPERTIES.format(broker=broker, controller=controller, data=folder / "data")
    )
    java = [_java(), "-Xmx512m", "-cp", f"{_jars()}/*"]
    form = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
    with (folder / "kafka.log").open("wb") as log:
        subprocess.run([*java, *form], check=True, stdout=log, stderr=log, timeout=120)
        command = [*java, "kafka.Kafka", str(properties)]
        with guarded(command, grace=5, stdout=log, stderr=log) as process:
            address = f"127.0.0.1:{broker}"
            await_ready(process, lambda: _metadata(address), "kafka")
            yield KafkaBroker(address)


def _metadata(address: str) -> None:
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    assert client.list_topics(timeout=2).brokers


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else shutil.which("java") or "java"


def _jars() -> Path:
    """Return the folder of Kafka's jars, resolved once by the Ivy that Spark brings along."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streambt"
    jars = cache / f"kafka-{VERSION}"
    if jars.is_dir():
        return jars
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f"kafka-{VERSION}.{os.getpid()}"
    settings = cache / "ivysettings-kafka.xml"
    settings.write_text(_SETTINGS.format(cache=cache / "ivy"))
    ivy = next((Path(pyspark.__file__).parent / "jars").glob("ivy-*.jar"))
    command = [
        _java(), "-jar", str(ivy), "-settings", str(settings), "-dependency", "org.apache.kafka",
        "kafka_2.13", VERSION, "-confs", "default", "-retrieve",
        f"{partial}/[artifact]-[revision].[ext]",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"Ivy cannot resolve Kafka {VERSION}: {done.stdout[-2000:]}"
    partial.replace(jars)
    return jars
