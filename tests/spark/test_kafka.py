"""Bars through a real Kafka broker: the same bits, in order, and nothing lost."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from streambt_spark.core.market.bars import FIELDS, Bars
from streambt_spark.core.market.faults import EARLIEST_US, FAULTS, LATEST_US, Reason
from streambt_spark.core.market.rows import RowKind, Rows, one_row, rows_of_bars
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
from streambt_spark.streams import kafka as clients
from streambt_spark.streams.feed import replay_to_kafka
from streambt_spark.streams.kafka import client_settings, confluent, require_topic
from streambt_spark.streams.messages import Received, batch_of
from streambt_spark.streams.pace import Pace
from streambt_spark.streams.replay import Replay
from streambt_spark.streams.rows import rows_of
from tests.property.rows import SYMBOLS, equal
from tests.property.test_rows import numbered, received
from tests.services.kafka import KafkaBroker
from tests.services.ports import free_ports
from tests.unit.test_messages import NOT_ONE_OBJECT, OTHERS, TIMES, bar, given

MINUTE = 60_000_000
HARD = [0.1, 1 / 3, 2**53 + 2.0, 5e-324, 1.7976931348623157e308, 123456.78901234567, 1e22, 1e23]
Row = tuple[Any, ...]


def bars_of(keys: list[tuple[int, int]], values: list[float], interval: str = "1m") -> Bars:
    """Return bars at (minute, symbol number) whose five fields are all the value."""
    minute, code = np.array(keys).T
    columns = [np.array(values)] * 5
    symbols = tuple("ABC"[: int(code.max()) + 1])
    return Bars(interval, symbols, code.astype(np.int32), minute * MINUTE, *columns)


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
        columns = ["symbol", "unix_micros(ts)", *FIELDS, "seq", "coalesce(fault, kind, 'bar')"]
        found.extend(tuple(row) for row in batch.selectExpr(*columns).collect())

    query = (
        rows.writeStream.foreachBatch(keep)
        .option("checkpointLocation", str(folder / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    assert query.awaitTermination(120)
    return found


def read(spark: SparkSession, *messages: Received, timestamps: int = 0) -> pa.RecordBatch:
    """Return what Spark makes of messages, as one batch; `timestamps` is Kafka's type of them."""
    sent = (None if m.sent is None else datetime.fromtimestamp(m.sent / 1e6, UTC) for m in messages)
    rows = [(*message[:3], at, timestamps) for message, at in zip(messages, sent, strict=True)]
    columns = "key binary, value binary, offset bigint, timestamp timestamp, timestampType int"
    (batch,) = parse(spark.createDataFrame(rows, columns).coalesce(1)).toArrow().to_batches()
    return batch


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
    client = confluent()
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


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_spark_reads_what_python_reads(spark: SparkSession, zone: str) -> None:
    """Sound, broken, with times of all forms: the same rows, whatever the session's time zone."""
    times = [bar(ts=written) for written, _ in TIMES]
    values = [*NOT_ONE_OBJECT, *times, *(value for value, _ in OTHERS)]
    messages = [Received(b"K", value, at, MINUTE * at) for at, value in enumerate(values)]
    messages += [Received(None, b'{"ts":5,"kind":"heartbeat"}', 5), Received(None, None, 6)]
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", zone)
    try:
        assert given(read(spark, *messages)) == given(batch_of(messages))
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)


def test_rows_of_every_kind_survive_spark(spark: SparkSession) -> None:
    """Written as messages and parsed in the JVM, each column of each kind has the same bits."""
    hard = [value for value in HARD if value < 1e300]
    rows = Rows.concat(
        rows_of_bars(bars_of([(day * 1440, 0) for day in range(len(hard))], hard, "1d")),
        one_row(RowKind.HEARTBEAT, 5, code=1, seq=-(2**63) + 1),
        one_row(RowKind.END, 5),
        one_row(RowKind.FLUSH, 5, policy="carry"),
        one_row(
            RowKind.ORDER, 5, code=1, known_at=9, side="sell", quantity=1 / 3, type="trail_limit",
            limit=0.1, stop=5e-324, trail=1e22, trail_percent=5.0, time_in_force="gtd",
            expires=LATEST_US, id="", parent='"\\', tag="é\n", lane="fast",
        ),
        one_row(RowKind.CANCEL, 5, code=0, id="x", lane="slow"),
        one_row(RowKind.EXECUTION, EARLIEST_US, id="x", quantity=2.0, price=0.0, commission=-0.0),
        one_row(RowKind.SPLIT, 5, code=1, ratio=4.0),
        one_row(RowKind.DIVIDEND, 5, code=1, amount=0.07, currency="USD", pay_date=-1),
        one_row(RowKind.RATE, 5, currency="EUR", quote="USD", rate=1.0842),
    )  # fmt: skip
    found = rows_of(read(spark, *received(rows)), SYMBOLS, "1d")
    assert equal(found, numbered(rows))
    assert not found.fault.any()


def test_a_bar_of_the_future_is_not_believed(spark: SparkSession) -> None:
    """What counts is Kafka's own time of the message; a topic that keeps none sets no horizon."""
    sent = 10 * MINUTE
    messages = [Received(b"A", bar(ts=ts * MINUTE), ts, sent) for ts in (10, 11, 12)]
    found = rows_of(read(spark, *messages), ["A"], "1m")
    assert [FAULTS[code] for code in found.fault] == [None, None, Reason.BEYOND_HORIZON]
    assert not rows_of(read(spark, *messages, timestamps=-1), ["A"], "1m").fault.any()


def test_an_absent_broker_is_one_clear_line(
    replay: Replay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No broker: a bounded wait, one error that names the address, and no other output."""
    monkeypatch.setattr(clients, "ANSWER_SECONDS", 1.0)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    for attempt in (require_topic, lambda at, topic: replay_to_kafka(replay, at, topic)):
        with pytest.raises(StoreUnavailable, match=f"no Kafka broker answers at {address}") as got:
            attempt(address, "bars")
        assert "\n" not in str(got.value)
    assert capfd.readouterr() == ("", "")


def test_an_unacknowledged_message_is_an_error() -> None:
    """A message that no broker takes within the time is raised, never lost in silence."""
    client = confluent()
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
    assert json.loads(whole[1][1][1][1]) == {"symbol": "B", "ts": MINUTE, "kind": "heartbeat"}
