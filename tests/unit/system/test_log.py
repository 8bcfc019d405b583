"""Standard error where it is the client's connection."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from eqmail_core.system import log
log.SYSLOG = sys.argv[1]
log.redirect_to_syslog()
log.write_stderr(b"qmail-smtpd: said\\n")
os.system("echo a child >&2")
os.write(1, b"220 ready\\n")
"""


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "log"))
        sock.settimeout(0)
        yield sock


def answer(path: Path, log: int | None) -> bytes:
    """What the client gets; `log` None: standard error is the connection, as below inetd."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), 10)
        theirs, _ = listener.accept()
    command = [sys.executable, "-c", PROGRAM, str(path)]
    subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs if log is None else log, check=True)
    theirs.close()
    with client, client.makefile("rb") as stream:
        return stream.read()


def test_under_inetd_it_logs_to_syslog(syslog: socket.socket, tmp_path: Path) -> None:
    assert answer(tmp_path / "log", None) == b"220 ready\n"
    assert syslog.recv(1000) == b"<22>qmail-smtpd: said\n"
    assert syslog.recv(1000) == b"a child\n"


def test_without_syslog_the_line_is_dropped(tmp_path: Path) -> None:
    assert answer(tmp_path / "log", None) == b"220 ready\n"


def test_otherwise_stderr_is_unchanged(syslog: socket.socket, tmp_path: Path) -> None:
    with (tmp_path / "errors").open("wb") as errors:
        assert answer(tmp_path / "log", errors.fileno()) == b"220 ready\n"
    assert (tmp_path / "errors").read_bytes() == b"qmail-smtpd: said\na child\n"
    with pytest.raises(BlockingIOError):
        syslog.recv(1000)
