"""What the tests of remote deliveries share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.name_server import NameServer
from tests.support.remote_harness import ZONE, Deliver, RemoteHome, Report


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    """A name server with the zone of these tests."""
    with NameServer(dict(ZONE)) as running:
        yield running


@pytest.fixture
def remote_home(tmp_path: Path, names: NameServer) -> Iterator[RemoteHome]:
    """A home, and a message to be delivered."""
    remote_home = RemoteHome(tmp_path / "home", names)
    yield remote_home
    os.close(remote_home.message)


@pytest.fixture(params=["resident", "qmail-remote"])
def deliver(request: pytest.FixtureRequest, remote_home: RemoteHome) -> Deliver:
    """Deliver to one recipient, by either driver."""

    def resident(recipient: bytes) -> Report:
        return remote_home.deliver(recipient)[0]

    def once(recipient: bytes) -> Report:
        report = remote_home.deliver_once(recipient).removeprefix(b"r\0")
        assert report.endswith(b"\0")
        return report[:1], report[1:-1]

    return resident if request.param == "resident" else once
