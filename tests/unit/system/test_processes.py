"""Programs run to their end."""

import os
import time
from collections.abc import Callable

import pytest

from eqmail_core.system.child import fork_with_socket
from eqmail_core.system.processes import await_end, run_captured, start


def shell(command: str) -> int:
    os.execv("/bin/sh", ["sh", "-c", command])


def test_exit_code_and_output_come_back() -> None:
    assert run_captured(lambda: shell("echo out; exit 7"), 100, 10) == (7, b"out\n")


def test_output_is_bounded() -> None:
    code, output = run_captured(lambda: shell("head -c 100000 /dev/zero"), 10, 10)
    assert (code, output) == (0, b"\0" * 10)


def test_a_program_that_takes_too_long_is_killed() -> None:
    begun = time.monotonic()
    code, _ = run_captured(lambda: shell("exec sleep 60"), 10, 0.05)
    assert code == -9 and time.monotonic() - begun < 10


def no_fork() -> int:
    raise BlockingIOError(11, "Resource temporarily unavailable")


@pytest.mark.parametrize("start_one", [lambda: run_captured(lambda: 0, 10, 10), lambda: fork_with_socket("x", id)])
def test_without_a_process_nothing_is_left_open(
    start_one: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fork", no_fork)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BlockingIOError):
        start_one()
    assert os.listdir("/proc/self/fd") == before


def test_programs_start_with_their_environment_and_default_sigpipe() -> None:
    command = b'test "$A" = b && ! kill -s PIPE $$; echo not reached'
    assert await_end(start([b"/bin/sh", b"-c", command], {b"A": b"b"})) == -13
