"""A watch on a topic while a job reads it: is its broker there, and is it still the same topic?

Spark itself asks a broker that is gone again and again, and says so after minutes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streambt_spark.masking import mask
from streambt_spark.streams.kafka import client_settings, confluent, described_id

ASKED_EVERY = 2.0
ANSWERS_IN = 4.0
"""Seconds; their sum is the longest that a broker is gone before it is told."""

GONE, BACK = "source_gone", "source_back"


class Watch:
    """Asks a broker for a topic over and over, on a thread of its own.

    `tell` gets a kind, GONE or BACK, and a line whenever the broker stops answering or answers
    again. `replaced` is set where the topic has another id than `identity`: it was deleted, and
    made again.
    """

    def __init__(
        self, bootstrap: str, topic: str, identity: str | None, tell: Callable[[str, str], None]
    ) -> None:
        self.replaced = threading.Event()
        self._bootstrap, self._topic, self._identity = bootstrap, topic, identity
        self._tell = tell
        self._ended = threading.Event()
        self._answers = True

    @contextmanager
    def going(self, on_replaced: Callable[[], None]) -> Iterator[None]:
        """Watch while the block runs; `on_replaced` is called once where the topic is another."""
        thread = threading.Thread(target=self._watch, args=(on_replaced,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(ANSWERS_IN)

    def _watch(self, on_replaced: Callable[[], None]) -> None:
        client = confluent()
        admin = client.admin.AdminClient(client_settings(self._bootstrap))
        while not self._ended.wait(ASKED_EVERY):
            try:
                admin.list_topics(self._topic, timeout=ANSWERS_IN)
            except client.KafkaException as error:
                self._note(False, str(error))
                continue
            self._note(True)
            found = described_id(admin, self._topic, ANSWERS_IN) if self._identity else None
            if found is not None and found != self._identity:
                self.replaced.set()
                on_replaced()
                return

    def _note(self, answers: bool, reason: str = "") -> None:
        if answers == self._answers or self._ended.is_set():
            return
        self._answers = answers
        broker = f"Kafka at {mask(self._bootstrap)}"
        if answers:
            self._tell(BACK, f"{broker} answers again")
        else:
            cause = mask(" ".join(reason.split())[:200])
            self._tell(GONE, f"{broker} does not answer ({cause}); the run waits for it")
