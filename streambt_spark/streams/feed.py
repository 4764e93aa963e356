"""Replays a snapshot into a Kafka topic, at an exact rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from streambt_spark.core.market.bars import FIELDS
from streambt_spark.core.market.rows import MARKS, RowKind
from streambt_spark.errors import NoData, StoreUnavailable
from streambt_spark.streams import schema
from streambt_spark.streams.kafka import client_settings, confluent, partition_count, unavailable
from streambt_spark.streams.messages import Message, template

if TYPE_CHECKING:
    from streambt_spark.streams.pace import Timeline
    from streambt_spark.streams.replay import Replay

DELIVERY_SECONDS = 30
"""How long a message is tried before the broker counts as unavailable."""

_CHUNK_BARS = 10_000
_BAR, _HEARTBEAT, _END = (template(kind) for kind in (RowKind.BAR, *MARKS))


@dataclass(frozen=True, slots=True)
class Sent:
    """What a replay wrote to its topic; every message was acknowledged by all replicas."""

    bars: int
    heartbeats: int
    ends: int
    seconds: float


def replay_to_kafka(
    replay: Replay,
    bootstrap: str,
    topic: str,
    *,
    topic_partitions: int = 4,
    on_slice: Callable[[int, int], None] | None = None,
) -> Sent:
    """Write a replay's bars to a topic, slice by slice, each when its pace says it is due.

    A symbol without a bar in a slice gets a heartbeat there, and each an end marker at the end,
    so that a reader of one partition knows what to expect of every symbol. The topic is made with
    `topic_partitions` where it is missing. `on_slice` is called with the slices done and all.

    Raises NoData for an empty replay, StoreUnavailable where the broker does not answer or does
    not acknowledge a message within DELIVERY_SECONDS, ExtraMissing without confluent-kafka.
    """
    client = confluent()
    timeline, symbols = replay.timeline(), _universe(replay)
    if not len(timeline):
        raise NoData(f"snapshot {replay.path} has no bars of that time and those symbols to replay")
    _make_topic(client, bootstrap, topic, topic_partitions)
    started = time.monotonic()
    due_at = replay.pace.due_at(timeline)
    outbox = Outbox(client, bootstrap, topic)
    heartbeats = 0
    for index, (_, messages) in enumerate(slices(replay, timeline, symbols)):
        _sleep_until(started + float(due_at[index]), outbox)
        outbox.send(messages)
        heartbeats += len(messages)
        if on_slice is not None:
            on_slice(index + 1, len(timeline))
    last = int(timeline.ts[-1])
    outbox.send([(name, _END % (name, last)) for name in symbols])
    outbox.close()
    bars = int(timeline.bars_before[-1])
    return Sent(bars, heartbeats - bars, len(symbols), time.monotonic() - started)


def slices(
    replay: Replay, timeline: Timeline, symbols: Sequence[str]
) -> Iterator[tuple[int, list[Message]]]:
    """Yield for each slice its time (UTC µs) and its messages: bars by symbol, then heartbeats."""
    parts = max(1, int(timeline.bars_before[-1]) // _CHUNK_BARS)
    for first, last in timeline.split(0, len(timeline), parts):
        start, end = int(timeline.ts[first]), int(timeline.ts[last - 1]) + 1
        columns = [schema.SYMBOL, schema.TS, *FIELDS]
        batches = replay.snapshot().read(start, end, replay.symbols, columns)
        table = pa.Table.from_batches(batches).sort_by(
            [("ts", "ascending"), ("symbol", "ascending")]
        )
        ts = table["ts"].cast("int64").to_numpy()
        rows = zip(
            table["symbol"].to_pylist(),
            ts.tolist(),
            *(table[name].to_pylist() for name in FIELDS),
            strict=True,
        )
        messages = [(row[0], _BAR % row) for row in rows]
        edges = np.flatnonzero(np.diff(ts, prepend=ts[0] - 1, append=ts[-1] + 1))
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            bars, moment = messages[a:b], int(ts[a])
            yield moment, bars + _heartbeats(bars, moment, symbols)


def _heartbeats(bars: Sequence[Message], ts: int, symbols: Sequence[str]) -> list[Message]:
    if len(bars) == len(symbols):
        return []
    active = {symbol for symbol, _ in bars}
    silent = (symbol for symbol in symbols if symbol not in active)
    return [(symbol, _HEARTBEAT % (symbol, ts)) for symbol in silent]


def _universe(replay: Replay) -> tuple[str, ...]:
    chosen = replay.symbols
    return replay.snapshot().symbols if chosen is None else tuple(sorted(set(chosen)))


def _make_topic(client: Any, bootstrap: str, topic: str, partitions: int) -> None:
    if partition_count(bootstrap, topic) is not None:
        return
    admin = client.admin.AdminClient(client_settings(bootstrap))
    new_topic = client.admin.NewTopic(topic, num_partitions=partitions, replication_factor=-1)
    try:
        admin.create_topics([new_topic])[topic].result(timeout=DELIVERY_SECONDS)
    except client.KafkaException as error:
        if error.args[0].code() != client.KafkaError.TOPIC_ALREADY_EXISTS:
            raise StoreUnavailable(f"cannot make topic {topic!r}: {error.args[0].str()}") from error


def _sleep_until(moment: float, outbox: Outbox) -> None:
    while (left := moment - time.monotonic()) > 0:
        outbox.serve(left)


class Outbox:
    """An idempotent producer whose failures are raised and whose queue is bounded."""

    def __init__(
        self, client: Any, bootstrap: str, topic: str, settings: Mapping[str, Any] | None = None
    ) -> None:
        self._bootstrap, self._topic = bootstrap, topic
        self._failure: object = None
        self._producer = client.Producer(
            client_settings(bootstrap)
            | {
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": DELIVERY_SECONDS * 1000,
                "delivery.report.only.error": True,
                "partitioner": "murmur2_random",  # where Java's clients put the same key
                "compression.type": "lz4",
                "linger.ms": 5,
            }
            | dict(settings or {})
        )

    def send(self, messages: Sequence[Message]) -> None:
        """Queue messages, waiting while the queue is full; raises StoreUnavailable on a failure."""
        produce, topic = self._producer.produce, self._topic
        for key, value in messages:
            while True:
                try:
                    produce(topic, value, key, on_delivery=self._delivered)
                    break
                except BufferError:
                    self.serve(0.1)
        self.serve(0)

    def serve(self, seconds: float) -> None:
        """Let the producer work for up to `seconds`; raises StoreUnavailable on a failure."""
        self._producer.poll(seconds)
        if self._failure is not None:
            raise unavailable(self._bootstrap, self._failure)

    def close(self) -> None:
        """Wait until every message is acknowledged; raises StoreUnavailable where one is not."""
        left = self._producer.flush(DELIVERY_SECONDS + 5)
        self.serve(0)
        if left:
            raise unavailable(self._bootstrap, f"{left} messages were not acknowledged")

    def _delivered(self, error: object, _message: object) -> None:
        self._failure = self._failure or error
