"""The servers that other tests rely on."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, Producer

from tests.services.kafka import KafkaBroker

pytestmark = pytest.mark.store


def test_kafka_keeps_what_it_is_given(kafka: KafkaBroker) -> None:
    """A message goes through the real broker."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce("light", key=b"A", value=b"first")
    assert producer.flush(30) == 0
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": "t", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["light"])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.value() == b"first"
