"""One small Spark session for all tests here, with every jar."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from streambt_spark.spark.session import session


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the session."""
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.spark)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A local session of two cores with Delta and Kafka."""
    conf = {
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.streaming.numRecentProgressUpdates": "1000",
    }
    with session(app="tests", master="local[2]", kafka=True, conf=conf) as spark:
        yield spark
