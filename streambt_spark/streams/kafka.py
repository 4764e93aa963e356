"""How a Kafka broker is reached, and what topics it has.

Its login comes from the environment alone: KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_MECHANISM,
KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SSL_CA_LOCATION (PEM).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from streambt_spark.errors import ExtraMissing, SourceNotFound, StoreUnavailable
from streambt_spark.masking import mask

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWER_SECONDS = 10.0
"""How long a broker may take to answer before it counts as unavailable."""


def require_topic(bootstrap: str, topic: str) -> int:
    """Return the topic's number of partitions.

    Raises StoreUnavailable where no broker answers in time, SourceNotFound where there is no such
    topic, ExtraMissing without confluent-kafka.
    """
    count = partition_count(bootstrap, topic)
    if count is None:
        raise SourceNotFound(
            f"no topic {topic!r} at {mask(bootstrap)}; feed it with streambt replay-to-kafka"
        )
    return count


def partition_count(bootstrap: str, topic: str) -> int | None:
    """Return the topic's number of partitions, None where there is no such topic."""
    client = confluent()
    try:
        admin = client.admin.AdminClient(client_settings(bootstrap))
        found = admin.list_topics(timeout=ANSWER_SECONDS).topics.get(topic)
    except client.KafkaException as error:
        raise unavailable(bootstrap, error) from error
    return len(found.partitions) if found is not None and found.error is None else None


def topic_id(bootstrap: str, topic: str) -> str | None:
    """Return what tells a topic from one of the same name made later; None where a broker does not.

    Raises StoreUnavailable where no broker answers in time, SourceNotFound where there is no such
    topic, ExtraMissing without confluent-kafka.
    """
    require_topic(bootstrap, topic)
    admin = confluent().admin.AdminClient(client_settings(bootstrap))
    return described_id(admin, topic, ANSWER_SECONDS)


def described_id(admin: Any, topic: str, seconds: float) -> str | None:
    """Return a topic's id as the broker describes it, None where it does not."""
    client = confluent()
    try:
        wanted = client.TopicCollection([topic])
        described = admin.describe_topics(wanted, request_timeout=seconds)[topic].result(seconds)
    except (client.KafkaException, TimeoutError):  # an old broker, or one that does not let us
        return None
    return None if described.topic_id is None else str(described.topic_id)


def confluent() -> Any:
    """Return the module confluent_kafka; raises ExtraMissing where it is not installed."""
    try:
        import confluent_kafka
        import confluent_kafka.admin
    except ImportError as error:
        raise ExtraMissing(
            "Kafka needs confluent-kafka; pip install 'streambt-spark[kafka]'"
        ) from error
    return confluent_kafka


def unavailable(bootstrap: str, error: object) -> StoreUnavailable:
    """Return the error of a broker that does not answer."""
    cause = mask(" ".join(str(error).split())[:200])
    return StoreUnavailable(
        f"no Kafka broker answers at {mask(bootstrap)} ({cause}); check the address, and "
        "KAFKA_SECURITY_PROTOCOL where it needs a login"
    )


def client_settings(bootstrap: str, env: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return how a confluent-kafka client reaches a broker; the login is the environment's."""
    names = {
        "security.protocol": "KAFKA_SECURITY_PROTOCOL",
        "sasl.mechanism": "KAFKA_SASL_MECHANISM",
        "sasl.username": "KAFKA_SASL_USERNAME",
        "sasl.password": "KAFKA_SASL_PASSWORD",
        "ssl.ca.location": "KAFKA_SSL_CA_LOCATION",
    }
    login = {name: env[variable] for name, variable in names.items() if env.get(variable)}
    # The broker's absence is raised; librdkafka would also print it, again and again.
    return {"bootstrap.servers": bootstrap, "log_level": 0, **login}
