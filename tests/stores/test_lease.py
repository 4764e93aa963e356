"""A lease on S3, which has no locks: created by one, renewed while it is held."""

from __future__ import annotations

import json
import threading

import pytest

from streambt_spark.errors import StoreConflict
from streambt_spark.stores import lease as module
from streambt_spark.stores.claim import Holder
from streambt_spark.stores.lease import NAME, lease
from streambt_spark.stores.location import Location
from tests.services.weed import S3Server

pytestmark = pytest.mark.store


@pytest.fixture
def place(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Location:
    """A prefix of a real server; leases are renewed often and run out soon."""
    monkeypatch.setattr(module, "RENEWED_EVERY", 0.2)
    monkeypatch.setattr(module, "EXPIRES_AFTER", 2.0)
    return Location.of(f"s3a://{s3.bucket}/leased")


def test_a_living_holder_is_heard_of(place: Location) -> None:
    """Another one is refused as soon as the lease is renewed; nothing is left in the end."""
    refused: list[str] = []

    def attempt() -> None:
        with pytest.raises(StoreConflict) as caught, module._renewed(place):
            pass
        refused.append(str(caught.value))

    with lease(place.text):
        assert place.names() == [f"{NAME}-1"]
        other = threading.Thread(target=attempt)
        other.start()
        other.join(30)
    assert "another run works in" in refused[0]
    assert place.names() == []


@pytest.mark.parametrize("host", [None, "elsewhere"])
def test_what_nobody_renews_is_taken_over(place: Location, host: str | None) -> None:
    """A dead process of this machine is followed at once, one of another when it runs out."""
    left = json.loads(module._content(Holder.here())) | {"process": 2**22 + 1}
    if host:
        left["host"] = host
    (place / f"{NAME}-1").write_bytes(json.dumps(left).encode())
    with lease(place.text):
        assert place.names() == [f"{NAME}-2"]
