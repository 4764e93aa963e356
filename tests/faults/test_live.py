"""A live run says when its broker is gone and when it is back, and knows its topic again."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import psutil
import pytest

from streambt_spark.streams.kafka import client_settings, confluent
from tests.cli.conftest import STRATEGY
from tests.commands import run_streambt
from tests.faults.processes import Running
from tests.services.kafka import KafkaBroker, kafka_broker

pytestmark = [pytest.mark.spark, pytest.mark.store]

TOPIC, DAY = "watched", 86_400_000_000


def send(bootstrap: str, days: int) -> None:
    """Write bars of two symbols to the topic, without an end."""
    producer = confluent().Producer(client_settings(bootstrap))
    for day in range(days):
        for symbol, price in (("A", 10.0 + day % 3), ("B", 20.0 - day % 3)):
            fields = dict.fromkeys(("open", "high", "low", "close"), price) | {"volume": 1.0}
            value = json.dumps({"symbol": symbol, "ts": day * DAY, **fields})
            producer.produce(TOPIC, value.encode(), symbol)
    assert producer.flush(30) == 0


def make(bootstrap: str) -> None:
    """Make the topic."""
    client = confluent()
    admin = client.admin.AdminClient(client_settings(bootstrap))
    admin.create_topics([client.admin.NewTopic(TOPIC, 1)])[TOPIC].result(30)


def make_again(bootstrap: str) -> None:
    """Delete the topic, and make one of the same name."""
    admin = confluent().admin.AdminClient(client_settings(bootstrap))
    admin.delete_topics([TOPIC])[TOPIC].result(30)
    deadline = time.monotonic() + 30
    while TOPIC in admin.list_topics(timeout=5).topics:
        assert time.monotonic() < deadline
    make(bootstrap)


@pytest.mark.timeout(400)
def test_a_broker_that_is_gone_is_told_and_a_new_topic_refused(tmp_path: Path) -> None:
    """Within ten seconds a line and a report, and again when it is back; the run goes on.

    A topic that was made anew since the last run is not read on from the old place.
    """
    (tmp_path / "sma.py").write_text(STRATEGY)
    out = tmp_path / "out"
    with kafka_broker(tmp_path / "kafka") as broker:
        make(broker.bootstrap)
        send(broker.bootstrap, 6)
        words = _words(tmp_path, out, broker)
        run = Running(*words)
        run.until(lambda: len(_reports(out)) > 0, 120)
        with _paused(tmp_path / "kafka"):
            run.until(lambda: _kinds(out) == ["source_gone"], 10)
        run.until(lambda: _kinds(out) == ["source_gone", "source_back"], 30)
        batches = _batches(out)
        send(broker.bootstrap, 8)
        run.until(lambda: _batches(out) > batches, 90)
        run.process.send_signal(signal.SIGTERM)
        code, lines = run.end(60)
        assert code == 143
        assert len(lines) == 2
        assert f"Kafka at {broker.bootstrap} does not answer (" in lines[0]
        assert lines[1].endswith(f"Kafka at {broker.bootstrap} answers again")
        make_again(broker.bootstrap)
        send(broker.bootstrap, 20)
        refused = run_streambt(*words, seconds=60)
        assert refused.returncode == 1
        assert f"topic {TOPIC} was deleted and made again" in refused.stderr
        assert refused.stderr.count("\n") == 1


@pytest.mark.timeout(400)
def test_a_signal_ends_a_run_that_waits(tmp_path: Path) -> None:
    """For its first message, where Ctrl-C has no result to give, or for a broker that is cut off;
    and in the end the run goes on from where it was.
    """
    (tmp_path / "sma.py").write_text(STRATEGY)
    out = tmp_path / "out"
    with kafka_broker(tmp_path / "kafka") as broker:
        make(broker.bootstrap)
        words = _words(tmp_path, out, broker)
        run = Running(*words)
        run.until((out / "checkpoint" / "metadata").exists, 120)
        run.process.send_signal(signal.SIGINT)
        assert run.end(60) == (130, ["streambt: interrupted"])
        assert not (out / "manifest.json").exists()
        send(broker.bootstrap, 6)
        run = Running(*words)
        run.until(lambda: len(_reports(out)) > 0, 120)
        with _paused(tmp_path / "kafka"):
            run.until(lambda: _kinds(out) == ["source_gone"], 10)
            run.process.send_signal(signal.SIGTERM)
            code, lines = run.end(30)
        assert code == 143
        assert [line for line in lines if "does not answer" not in line] == []
        batches = _batches(out)
        send(broker.bootstrap, 8)
        run = Running(*words)
        run.until(lambda: _batches(out) > batches, 120)
        run.process.send_signal(signal.SIGINT)
        assert run.end(60)[0] == 130
        assert (out / "manifest.json").exists()


def _words(place: Path, out: Path, broker: KafkaBroker) -> list[str]:
    to = ["--bootstrap", broker.bootstrap, "--topic", TOPIC]
    return [
        "live", str(place / "sma.py"), *to, "--interval", "1d", "--symbols", "A,B",
        "--out", str(out),
    ]  # fmt: skip


class _paused:  # noqa: N801 - reads as what it does
    """A broker that is there and answers nothing, as one that is cut off."""

    def __init__(self, folder: Path) -> None:
        config = str(folder / "server.properties")
        (self._server,) = (
            process
            for process in psutil.process_iter(["name", "cmdline"])
            if process.info["name"] == "java" and config in (process.info["cmdline"] or ())
        )

    def __enter__(self) -> None:
        self._server.suspend()

    def __exit__(self, *_: object) -> None:
        self._server.resume()


def _reports(out: Path) -> list[dict[str, object]]:
    path = out / "progress.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _kinds(out: Path) -> list[object]:
    return [report["kind"] for report in _reports(out) if "kind" in report]


def _batches(out: Path) -> int:
    return sum("batch" in report for report in _reports(out))
