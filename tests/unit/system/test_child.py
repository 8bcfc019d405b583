"""Children that are forked and not executed: what they have of their parent, and what they have not."""

import gc
import os
import socket
from collections.abc import Iterator

import pytest

from eqmail_core.system.child import fork_with_socket


class Owner:
    """Closes its descriptor when it is collected, as a socket does; only the collector finds it."""

    def __init__(self) -> None:
        self.fd = os.open("/dev/null", os.O_RDONLY)
        self.itself = self

    def __del__(self) -> None:
        os.close(self.fd)


@pytest.fixture
def garbage() -> Iterator[int]:
    """The descriptor of an object that is garbage and has not been collected."""
    gc.collect()
    gc.disable()
    yield Owner().fd
    gc.enable()
    gc.collect()


def test_garbage_of_the_parent_closes_no_descriptor_of_a_child(garbage: int) -> None:
    def act(_sock: socket.socket) -> int:
        opened = [os.open("/dev/null", os.O_RDONLY)]
        while opened[-1] < garbage:
            opened.append(os.open("/dev/null", os.O_RDONLY))
        gc.collect()
        return sum(not os.path.exists(f"/proc/self/fd/{fd}") for fd in opened)

    pid, sock = fork_with_socket("child", act)
    with sock:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_child_has_its_socket_and_the_first_three_descriptors() -> None:
    def act(sock: socket.socket) -> int:
        found = {int(name) for name in os.listdir("/proc/self/fd")}
        return 0 if found - {4} == {0, 1, 2, 3} and sock.fileno() == 3 else 1

    with open("/dev/null", "rb"):
        pid, sock = fork_with_socket("child", act)
    with sock:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
