"""Fixtures for all tests: the real bars, and real servers that one test run shares."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _compiled_code() -> Path:
    """Return a folder for numba's cache that belongs to the core's sources as they stand.

    Numba looks at the file of a function alone, and not at those whose functions and constants it
    is compiled with.
    """
    sources = sorted((Path(__file__).parents[1] / "streambt_spark" / "core").rglob("*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    return Path(tempfile.gettempdir(), f"streambt-numba-{os.getuid()}", digest[:16])


os.environ.setdefault("NUMBA_CACHE_DIR", str(_compiled_code()))  # before numba is imported

from streambt_spark.stores.embedded import embedded_mongod  # noqa: E402
from streambt_spark.stores.mongo import BarStore  # noqa: E402
from tests.services.kafka import KafkaBroker, kafka_broker  # noqa: E402
from tests.services.weed import S3Server, s3_server  # noqa: E402


@pytest.fixture(scope="session")
def market() -> Path:
    """The folder of real bars beside the project; skips where there is none."""
    folder = Path(__file__).parents[1].parent / "shared" / "market"
    if not folder.is_dir():
        pytest.skip(f"no real bars at {folder}")
    return folder


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MongoDB server."""
    with embedded_mongod(tmp_path_factory.mktemp("mongod")) as address:
        yield address


@pytest.fixture
def store(mongod: str, request: pytest.FixtureRequest) -> Iterator[BarStore]:
    """A store in a database of the test's own, dropped afterwards."""
    with BarStore(mongod, f"t{abs(hash(request.node.nodeid))}") as opened:
        yield opened
        opened.collection("bars").database.client.drop_database(
            opened.collection("bars").database.name
        )


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server with a bucket."""
    with s3_server(tmp_path_factory.mktemp("weed")) as server:
        yield server


@pytest.fixture
def s3(weed: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server, with its address and credentials in the environment."""
    for name, value in weed.environment.items():
        monkeypatch.setenv(name, value)
    return weed


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A real Kafka broker."""
    with kafka_broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker
