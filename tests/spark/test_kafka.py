"""Bars through a real Kafka broker: the same bits, in order, and nothing lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from streambt_spark.core.market.bars import FIELDS, Bars
from streambt_spark.errors import (
    ConfigError,
    ExtraMissing,
    NoData,
    SourceNotFound,
    StoreUnavailable,
)
from streambt_spark.spark import kafka as module
from streambt_spark.spark.kafka import kafka_rows, parse
from streambt_spark.stores.lake import bars_to_batches, write_snapshot
from streambt_spark.streams import feed
from streambt_spark.streams.feed import replay_to_kafka
from streambt_spark.streams.kafka import client_settings, require_topic
from streambt_spark.streams.pace import Pace
from streambt_spark.streams.replay import Replay
from tests.services.kafka import KafkaBroker
from tests.services.ports import free_ports

MINUTE = 60_000_000
HARD = [0.1, 1 / 3, 2**53 + 2.0, 5e-324, 1.7976931348623157e308, 123456.78901234567, 1e22, 1e23]
Row = tuple[Any, ...]


def bars_of(keys: list[tuple[int, int]], values: list[float]) -> Bars:
    """Return bars at (minute, symbol number) whose five fields are all the value."""
    minute, code = np.array(keys).T
    columns = [np.array(values)] * 5
    symbols = tuple("ABC"[: int(code.max()) + 1])
    return Bars("1m", symbols, code.astype(np.int32), minute * MINUTE, *columns)


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """Eight minutes of A and every other minute of B, of values that are hard to print."""
    keys = [(m, s) for m in range(8) for s in range(2) if s == 0 or m % 2 == 0]
    values = [HARD[m] for m, _ in keys]
    path = tmp_path_factory.mktemp("lake") / "bars"
    write_snapshot(bars_to_batches(bars_of(keys, values)), path, interval="1m")
    return Replay(str(path))


def collect(rows: DataFrame, folder: Path) -> list[Row]:
    """Run a stream until it has read everything; return its rows as (symbol, µs, …)."""
    found: list[Row] = []

    def keep(batch: DataFrame, _: int) -> None:
        columns = ["symbol", "unix_micros(ts)", *FIELDS, "seq", "mark"]
        found.extend(tuple(row) for row in batch.selectExpr(*columns).collect())

    query = (
        rows.writeStream.foreachBatch(keep)
        .option("checkpointLocation", str(folder / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    assert query.awaitTermination(120)
    return found


def read(spark: SparkSession, *values: bytes | None, key: bytes | None = b"A") -> list[Row]:
    """Return what messages with these values become."""
    rows = [(key, value, number) for number, value in enumerate(values)]
    messages = spark.createDataFrame(rows, "key binary, value binary, offset bigint")
    columns = ["symbol", "unix_micros(ts)", "close", "seq", "mark"]
    return [tuple(row) for row in parse(messages).selectExpr(*columns).collect()]


def bar(**changes: object) -> bytes:
    """Return a bar's message; a change to None leaves the field out."""
    fields = {"symbol": "A", "ts": 5, **dict.fromkeys(FIELDS, 1.5)} | changes
    return json.dumps({k: v for k, v in fields.items() if v is not None}).encode()


@pytest.mark.store
def test_bars_survive_the_broker_to_the_bit(
    kafka: KafkaBroker, spark: SparkSession, replay: Replay, tmp_path: Path
) -> None:
    """Every float64 comes back with the same bits, each symbol in order, then its end."""
    sent = replay_to_kafka(replay, kafka.bootstrap, "bits", topic_partitions=3)
    assert (sent.bars, sent.heartbeats, sent.ends) == (12, 4, 2)
    assert require_topic(kafka.bootstrap, "bits") == 3
    rows = collect(kafka_rows(spark, kafka.bootstrap, "bits"), tmp_path)
    for symbol, step in (("A", 1), ("B", 2)):
        own = sorted((row for row in rows if row[0] == symbol), key=lambda row: row[7])
        bars = [row for row in own if row[-1] == "bar"]
        expected = [(m * MINUTE, HARD[m].hex()) for m in range(0, 8, step)]
        for column in range(2, 7):
            assert [(row[1], row[column].hex()) for row in bars] == expected
        assert [row[1] // MINUTE for row in own] == [*range(8), 7]
        assert own[-1][-1] == "end"
        beats = [row[1] // MINUTE for row in own if row[-1] == "heartbeat"]
        assert beats == ([] if symbol == "A" else [1, 3, 5, 7])


@pytest.mark.store
def test_batches_are_bounded_and_restart_continues(
    kafka: KafkaBroker, spark: SparkSession, replay: Replay, tmp_path: Path
) -> None:
    """A bound on the offsets of a batch is kept, and a restarted query reads only what is new."""
    replay_to_kafka(replay, kafka.bootstrap, "again", topic_partitions=1)
    rows = kafka_rows(spark, kafka.bootstrap, "again", max_offsets_per_batch=5)
    assert len(collect(rows, tmp_path)) == 18
    assert collect(rows, tmp_path) == []
    replay_to_kafka(replay, kafka.bootstrap, "again")
    assert len(collect(rows, tmp_path)) == 18


@pytest.mark.store
def test_a_bad_message_never_fails_the_stream(
    kafka: KafkaBroker, spark: SparkSession, tmp_path: Path
) -> None:
    """Between good messages a bad one is a malformed row with its symbol."""
    client = module.confluent()
    producer = client.Producer(client_settings(kafka.bootstrap))
    for value in (bar(), b"{not json", b"\xff\xfe", None, bar(ts=6)):
        producer.produce("bad", value, "A")
    assert producer.flush(30) == 0
    rows = collect(kafka_rows(spark, kafka.bootstrap, "bad"), tmp_path)
    assert [(row[0], row[-1]) for row in rows] == [
        ("A", "bar"), ("A", "malformed"), ("A", "malformed"), ("A", "malformed"), ("A", "bar"),
    ]  # fmt: skip


@pytest.mark.store
def test_an_absent_topic_is_named(kafka: KafkaBroker) -> None:
    """A topic that is not there is an error before the query starts."""
    with pytest.raises(SourceNotFound, match="no topic 'nowhere'"):
        require_topic(kafka.bootstrap, "nowhere")


@pytest.mark.store
def test_a_paced_feed_is_exact(
    kafka: KafkaBroker, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each slice is sent at its own moment of the clock, to the microsecond."""

    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

    class Outbox(feed.Outbox):
        def serve(self, seconds: float) -> None:
            clock.now += seconds
            super().serve(0)

    clock = Clock()
    monkeypatch.setattr(feed, "time", clock)
    monkeypatch.setattr(feed, "Outbox", Outbox)
    seen: list[float] = []
    paced = Replay(replay.path, pace=Pace(speed=30))
    replay_to_kafka(
        paced, kafka.bootstrap, "paced", on_slice=lambda *_: seen.append(clock.now - 1000)
    )
    assert seen == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]


def test_times_are_micros_or_iso(spark: SparkSession) -> None:
    """A time may be UTC microseconds, or ISO 8601 with a zone or without, which is UTC."""
    texts = ["2024-03-01T14:30:00Z", "2024-03-01 15:30:00+01:00", "2024-03-01T14:30:00.000001"]
    found = read(spark, *(bar(ts=text) for text in texts), bar(ts=-7), bar(ts="12"))
    half_past = 1_709_303_400_000_000
    assert [row[1] for row in found] == [half_past, half_past, half_past + 1, -7, 12]
    assert {row[-1] for row in found} == {"bar"}


@pytest.mark.parametrize(
    "value",
    [
        None, b"", b"[]", b'"bar"', b"{}", b"{not json", bar(close=None), bar(volume="much"),
        bar(ts=None), bar(ts="soon"), bar(ts="99999999999999999999"), bar(mark="bra"),
        b'{"mark":"heartbeat"}',
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_malformed(value: bytes | None, spark: SparkSession) -> None:
    """No message fails the parser; what it cannot read keeps the key as its symbol."""
    ((symbol, _, _, _, mark),) = read(spark, value)
    assert (symbol, mark) == ("A", "malformed")


def test_a_malformed_bar_keeps_what_is_known(spark: SparkSession) -> None:
    """Symbol and time of a bar with a missing field are kept for the record."""
    assert read(spark, bar(symbol="B", ts=5, open=None)) == [("B", 5, 1.5, 0, "malformed")]


def test_marks_and_numbers_of_messages(spark: SparkSession) -> None:
    """Marks may speak for one symbol or for all; a bar without seq takes its offset."""
    found = read(
        spark, b'{"ts":5,"mark":"heartbeat"}', b'{"mark":"end"}', bar(seq=70), bar(), key=None
    )
    assert found == [
        (None, 5, None, 0, "heartbeat"),
        (None, None, None, 1, "end"),
        ("A", 5, 1.5, 70, "bar"),
        ("A", 5, 1.5, 3, "bar"),
    ]


def test_an_absent_broker_is_one_clear_line(
    replay: Replay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No broker: a bounded wait, one error that names the address, and no other output."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 1.0)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    for attempt in (require_topic, lambda at, topic: replay_to_kafka(replay, at, topic)):
        with pytest.raises(StoreUnavailable, match=f"no Kafka broker answers at {address}") as got:
            attempt(address, "bars")
        assert "\n" not in str(got.value)
    assert capfd.readouterr() == ("", "")


def test_an_unacknowledged_message_is_an_error() -> None:
    """A message that no broker takes within the time is raised, never lost in silence."""
    client = module.confluent()
    settings = {"message.timeout.ms": 200}
    outbox = feed.Outbox(client, f"127.0.0.1:{free_ports(1)[0]}", "bars", settings)
    outbox.send([("A", "{}")])
    with pytest.raises(StoreUnavailable, match="timed out"):
        outbox.close()


def test_nothing_to_replay_makes_no_topic(replay: Replay) -> None:
    """An empty selection is refused before the broker is asked."""
    with pytest.raises(NoData, match="no bars of that time"):
        replay_to_kafka(Replay(replay.path, start=99 * MINUTE), "127.0.0.1:1", "bars")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without confluent-kafka the extra is named."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'streambt-spark\[kafka\]'"):
        require_topic("127.0.0.1:1", "bars")


def test_the_login_comes_from_the_environment() -> None:
    """Both clients get the same login; a password with quotes cannot break out of its setting."""
    env = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": "me",
        "KAFKA_SASL_PASSWORD": 'p"; x\\',
        "KAFKA_SSL_CA_LOCATION": "/etc/ca.pem",
    }
    client = client_settings("b:9092", env)
    assert client["sasl.password"] == 'p"; x\\'
    assert client["security.protocol"] == "SASL_SSL"
    spark = module._spark_security(env)
    assert spark["kafka.sasl.jaas.config"] == (
        "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="me" password="p\\"; x\\\\";'
    )
    assert spark["kafka.ssl.truststore.location"] == "/etc/ca.pem"
    assert module._spark_security({}) == {}
    with pytest.raises(ConfigError, match="KAFKA_SASL_MECHANISM is GSSAPI"):
        module._spark_security({"KAFKA_SASL_MECHANISM": "GSSAPI"})


def test_slices_are_complete_whatever_the_chunk(
    replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each slice has a message for every symbol, bars first, however the snapshot is read."""
    timeline = replay.timeline()
    whole = list(feed.slices(replay, timeline, ("A", "B")))
    monkeypatch.setattr(feed, "_CHUNK_BARS", 2)
    assert list(feed.slices(replay, timeline, ("A", "B"))) == whole
    assert [(ts // MINUTE, len(messages)) for ts, messages in whole] == [(m, 2) for m in range(8)]
    assert json.loads(whole[1][1][1][1]) == {"symbol": "B", "ts": MINUTE, "mark": "heartbeat"}
