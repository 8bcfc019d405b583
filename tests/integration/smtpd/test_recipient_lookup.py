"""Lookups of the resident SMTP service, and their fate without an answer."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from eqmail_core.ipc import recipient_lookup_protocol as wire
from eqmail_core.ipc.packet_socket import listen_at
from eqmail_core.smtpd.server.async_recipient_lookup import RecipientLookupClient
from eqmail_core.smtpd.server.blocking_recipient_lookup import look_up


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


class ReverseResponder:
    """Answers the questions of one connection in reverse order, when `count` have come, then hangs up."""

    def __init__(self, path: str, count: int, letters: dict[bytes, bytes]) -> None:
        self._listener = listen_at(path, 0o600)
        self._count = count
        self._letters = letters
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        sock, _ = self._listener.accept()
        with sock, self._listener:
            asked = [wire.split_question(sock.recv(4096)) for _ in range(self._count)]
            for tag, recipient in reversed(asked):
                if recipient in self._letters:
                    sock.send(wire.answer(tag, self._letters[recipient]))
            with suppress(BrokenPipeError, ConnectionResetError):
                sock.send(b"nonsense")
                sock.send(wire.answer(99, b"K"))

    def join(self) -> None:
        self._thread.join(60)


def ask_all(
    loop: asyncio.AbstractEventLoop, link: RecipientLookupClient, recipients: list[bytes]
) -> dict[bytes, bytes]:
    reported: dict[bytes, bytes] = {}
    done = asyncio.Event()

    def tell(recipient: bytes, letter: bytes) -> None:
        reported[recipient] = letter
        if len(reported) == len(recipients):
            done.set()

    for recipient in recipients:
        link.ask(recipient, lambda letter, recipient=recipient: tell(recipient, letter))
    assert not reported
    loop.run_until_complete(asyncio.wait_for(done.wait(), 10))
    return reported


def test_answers_find_their_questions(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    complaints: list[bytes] = []
    letters = {b"a@h": b"K", b"b@h": b"D", b"c@h": b"Z"}
    responder = ReverseResponder(path, 4, letters)
    link = RecipientLookupClient(loop, path, complaints.append)
    assert ask_all(loop, link, [*letters, b"lost@h"]) == letters | {b"lost@h": b""}
    responder.join()
    assert len(complaints) == 1
    link.close()


def test_a_missing_service_is_logged_once(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    complaints: list[bytes] = []
    link = RecipientLookupClient(loop, str(tmp_path / "none"), complaints.append)
    assert ask_all(loop, link, [b"a@h", b"b@h"]) == {b"a@h": b"", b"b@h": b""}
    assert len(complaints) == 1 and b"recipients are accepted unseen" in complaints[0]


def test_a_silent_service_is_not_waited_for(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listener = listen_at(path, 0o600)
    link = RecipientLookupClient(loop, path, lambda line: None, timeout_s=0.05)
    assert ask_all(loop, link, [b"a@h"]) == {b"a@h": b""}
    link.close()
    listener.close()


def test_only_one_lookup_waits(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    responder = ReverseResponder(path, 1, {b"a@h": b"D"})
    assert look_up(path, b"a@h") == b"D"
    responder.join()
    assert look_up(path, b"a@h") == b""
