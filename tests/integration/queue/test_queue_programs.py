"""Replacements of qmail-queue that report why they refuse a message, such as simscan."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_core.event_loop.child_slots import ChildSlots
from eqmail_core.queue.client.async_program import QueuePrograms
from eqmail_core.queue.client.blocking import ProgramQueue
from eqmail_core.queue.format.exit_codes import explain
from tests.integration.smtpd.test_sessions import TRANSACTION, read_all
from tests.support.smtp_servers import Home, Resident, blocking_server

PROGRAM = """#!/bin/sh
cat >/dev/null
cat <&1 >/dev/null
printf '{text}' >&4
exit {code}
"""
CASES = [
    (82, "Dvirus found (#5.7.1)", b"554 virus found (#5.7.1)\r\n"),
    (82, "Zcome back later (#4.7.1)\\nmore", b"451 come back later (#4.7.1)\r\n"),
    (31, "Dspam (#5.7.1)", b"554 spam (#5.7.1)\r\n"),
    (31, "", b"554 mail server permanently rejected message (#5.3.0)\r\n"),
    (82, "", b"451 qq temporary problem (#4.3.0)\r\n"),
    (82, "virus", b"451 qq temporary problem (#4.3.0)\r\n"),
    (71, "Dvirus", b"451 mail server temporarily rejected message (#4.3.0)\r\n"),
    (82, "D\\033[2J\\r\\n250 ok", b"554 ?[2J\r\n"),
]


def resident(home: Home, program: str) -> bytes:
    with Resident(home, QMAILQUEUE=program) as server, server.connect() as client:
        client.sendall(TRANSACTION + b"x\r\n.\r\nQUIT\r\n")
        return read_all(client)


def waiting(home: Home, program: str) -> bytes:
    with blocking_server(home, QMAILQUEUE=program) as (client, _):
        client.sendall(TRANSACTION + b"x\r\n.\r\nQUIT\r\n")
        return read_all(client)


@pytest.mark.parametrize("serve", [resident, waiting])
@pytest.mark.parametrize(("code", "text", "line"), CASES)
def test_the_client_gets_the_message_of_the_queue_program(
    tmp_path: Path, serve: Callable[[Home, str], bytes], code: int, text: str, line: bytes
) -> None:
    program = tmp_path / "queue"
    program.write_text(PROGRAM.format(code=code, text=text))
    program.chmod(0o755)
    assert line in serve(Home(tmp_path / "home"), str(program))


def descriptors() -> set[str]:
    # What a test server that has ended still counts in goes with it.
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


def test_no_descriptor_is_left_where_there_are_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "home")
    before = descriptors()
    real, made = os.pipe, []

    def pipe() -> tuple[int, int]:
        if len(made) == 2:
            raise OSError(24, "Too many open files")
        made.append(real())
        return made[-1]

    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(OSError, match="Too many"):
        ProgramQueue(b"/bin/true", home.site, {})
    made.clear()
    server = Resident(home)
    codes: list[int] = []
    programs = QueuePrograms(server.loop, b"/bin/true", dict, ChildSlots(1), b"ip")
    programs.open_long(lambda code, *_: codes.append(code), lambda: None)
    server.loop.call_soon(server.loop.stop)
    server.loop.run_forever()
    assert explain(codes[0]) == b"Zqq out of memory (#4.3.0)"
    monkeypatch.undo()
    server.loop.close()
    server.listener.close()
    del server
    assert descriptors() == before


def test_no_descriptor_is_left_where_no_child_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home")
    before = descriptors()

    def fork() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(OSError, match="temporarily"):
        ProgramQueue(b"/bin/true", home.site, {})
    assert descriptors() == before
