"""Sockets between services."""

import os
from pathlib import Path

import pytest

from eqmail_core.ipc.packet_socket import listen_at


@pytest.fixture
def umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def current() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_umask_is_as_before_when_a_socket_was_made_and_when_it_was_not(tmp_path: Path, umask: int) -> None:
    listen_at(f"{tmp_path}/sock", 0o600).close()
    assert current() == umask
    with pytest.raises(OSError, match="too long"):
        listen_at(f"{tmp_path}/{'x' * 200}", 0o600)
    assert current() == umask
