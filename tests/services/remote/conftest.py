"""What the tests of remote deliveries share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.name_server import NameServer
from tests.services.remote.remote_house import ZONE, House


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
