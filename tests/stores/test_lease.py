"""A lease on S3, which has no locks: created by one, renewed while it is held."""

from __future__ import annotations

import json
import threading
import time

import pytest

from streambt_spark.errors import StoreConflict
from streambt_spark.stores import lease as module
from streambt_spark.stores.claim import Holder
from streambt_spark.stores.lease import NAME, Held, Lease, lease
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
        with pytest.raises(StoreConflict) as caught, module._renewed(Held(place, 0)):
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


def lost(held: Lease) -> str:
    """Return what a holder is told once its lease does not hold any more."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            held.check()
        except StoreConflict as error:
            return str(error)
        threading.Event().wait(0.05)
    raise AssertionError("the holder was told nothing")


@pytest.mark.parametrize("removed", [True, False])
def test_a_holder_learns_that_it_was_followed(place: Location, removed: bool) -> None:
    """As one that slept for long; also where its renewal came just after its lease was removed."""
    with lease(place.text) as held, lease(place.text) as again:
        held.check()
        assert (place / f"{NAME}-2").create(b"{}")
        if removed:
            (place / f"{NAME}-1").remove()
        assert lost(held).startswith(f"another run has taken over {place.text}, for this one had")
        with pytest.raises(StoreConflict):
            again.check()
    (place / f"{NAME}-2").remove()


def test_what_cannot_be_renewed_is_not_held(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that another one waits the holder may not write, whether one has come or not.

    As long as it is renewed it is held for longer than that.
    """
    with lease(place.text) as held:
        renewed_twice = held.places[0].good_until + 0.4
        while held.places[0].good_until < renewed_twice:
            held.check()
    monkeypatch.setattr(module, "RENEWED_EVERY", 60.0)
    with lease(place.text) as held:
        assert f"has not renewed its lease of {place.text}" in lost(held)
