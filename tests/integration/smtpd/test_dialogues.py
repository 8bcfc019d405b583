"""The dialogues of tests/data/smtp, played against both drivers: they differ in nothing."""

import socket
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from eqmail_core.dsn.parameters import parse_dsn, render_dsn
from eqmail_core.mail.envelope import split_dsn
from eqmail_core.smtpd.policy import authentication as login
from eqmail_core.smtpd.policy.requests import Request
from eqmail_core.smtpd.server import async_requests as errands_on_loop
from eqmail_core.smtpd.server import blocking_requests as errands_waiting
from tests.support.smtp_servers import Home, Resident, blocking_server

DIALOGUES = sorted((Path(__file__).parents[2] / "data/smtp").glob("*.chat"))
Messages = list[tuple[bytes, bytes]]


class Chat:
    """One file: control files, turns, and what the queue got."""

    def __init__(self, path: Path) -> None:
        self.controls: dict[str, str] = {}
        self.turns: list[tuple[str, str]] = []
        self.queued: list[tuple[list[str], str]] = []
        for line in path.read_text().splitlines():
            kind, text = line[:2], line[3:].encode().decode("unicode_escape")
            if kind == "Q:":
                envelope, _, message = text.partition("|")
                self.queued.append((envelope.split(), message.removeprefix(" ")))
            elif kind in ("S:", "C:"):
                self.turns.append((kind, text))
            elif line == ".":
                self.turns.append((".", ""))
            elif line.startswith("= "):
                name, _, value = line[2:].encode().decode("unicode_escape").partition(" ")
                self.controls[name] = value
            else:
                assert not line or line.startswith("#"), f"{path.name}: {line}"

    def run_dialogue(self, client: socket.socket) -> None:
        """Be the client, and listen carefully."""
        with client.makefile("rb") as replies:
            for kind, text in self.turns:
                if kind == "C:":
                    client.sendall(text.encode("latin-1") + b"\r\n")
                    continue
                line = replies.readline().decode("latin-1")
                assert fnmatchcase(line, f"{text}\r\n" if kind == "S:" else ""), f"{text!r} expected, got {line!r}"

    def check(self, got: Messages) -> None:
        """Compare what was queued, except for the two lines of Received and what the queue is told of the client."""
        found = []
        for envelope, message in got:
            records, dsn = split_dsn(envelope)
            known = parse_dsn(dsn) if dsn else None
            if known is not None and known.facts:
                known.facts = {}
                dsn = render_dsn(known)
            if records != envelope:
                sender, *recipients = records[:-1].decode().split("\0")
                who = [sender[1:] or "<>", *[recipient[1:] for recipient in recipients]]
                who += [dsn.decode().replace(" ", ",")] if dsn else []
                found.append((who, message.decode().split("\n", 2)[2]))
        assert found == self.queued


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "FAILED_AUTH_PAUSE_S", 0.0)


@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_the_blocking_driver(path: Path, tmp_path: Path) -> None:
    chat = Chat(path)
    home = Home(tmp_path / "home", **chat.controls)
    with blocking_server(home) as (client, codes):
        chat.run_dialogue(client)
    assert len(codes) == 1
    chat.check(home.queued())


@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_the_driver_on_an_event_loop(path: Path, tmp_path: Path) -> None:
    chat = Chat(path)
    with Resident(Home(tmp_path / "home", **chat.controls)) as server:
        with server.connect() as client:
            chat.run_dialogue(client)
        chat.check(server.queued())


@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_the_driver_on_an_event_loop_with_a_queue_program(path: Path, tmp_path: Path) -> None:
    """QMAILQUEUE is honoured by the service too."""
    chat = Chat(path)
    home = Home(tmp_path / "home", **chat.controls)
    with Resident(home, QMAILQUEUE=f"{home.site.bin}/qmail-queue") as server:
        with server.connect() as client:
            chat.run_dialogue(client)
        assert not server.queued()
    chat.check(home.queued())


def test_the_dialogues_are_found() -> None:
    assert len(DIALOGUES) > 5


def test_both_drivers_handle_every_kind_of_request() -> None:
    kinds = set(Request.__subclasses__())
    assert set(errands_waiting._WAYS) == set(errands_on_loop._WAYS) == kinds
