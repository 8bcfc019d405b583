"""What the tests of remote deliveries share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.remote.delivery import Report
from tests.support.name_server import NameServer
from tests.support.remote_harness import ZONE, Deliver, House


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    """A name server with the zone of these tests."""
    with NameServer(dict(ZONE)) as running:
        yield running


@pytest.fixture
def house(tmp_path: Path, names: NameServer) -> Iterator[House]:
    """A home, and a message to be delivered."""
    house = House(tmp_path / "home", names)
    yield house
    os.close(house.message)


@pytest.fixture(params=["resident", "qmail-remote"])
def deliver(request: pytest.FixtureRequest, house: House) -> Deliver:
    """Deliver to one recipient, by either driver."""

    def resident(recipient: bytes) -> Report:
        return house.deliver(recipient)[0]

    def once(recipient: bytes) -> Report:
        report = house.deliver_once(recipient).removeprefix(b"r\0")
        assert report.endswith(b"\0")
        return report[:1], report[1:-1]

    return resident if request.param == "resident" else once
