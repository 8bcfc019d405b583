"""A delivery by LMTP as a line of a .qmail file, against a store with scripted replies."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from eqmail_core.local.delivery.deliver import deliver
from eqmail_core.local.delivery.request import LocalDelivery
from eqmail_core.outcome import Failure, PermanentFailure, TemporaryFailure
from eqmail_core.programs import qmail_lmtp
from eqmail_core.site.site import Site

MESSAGE = b"Subject: x\n\nbody"


class Store:
    """One connection: greets, then answers each line by its verb; the end of the message by `final`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replies = {"LHLO": "250-store\r\n250 PIPELINING", "DATA": "354 go", "QUIT": "221 bye", "final": "250 in"}
        self.greeting = "220 store"
        self.received = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        # the client does not wait for the answer to QUIT, and some tests never connect
        with suppress(OSError):
            self._talk(self._listener.accept()[0])

    def _talk(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as lines:
            sock.sendall(self.greeting.encode() + b"\r\n")
            in_message = False
            for line in lines:
                self.received += line
                word = "final" if line == b".\r\n" else line.split()[0].decode() if line.split() else ""
                if in_message and word != "final":
                    continue
                reply = self.replies.get(word, "250 ok")
                if reply == "!close":
                    return
                in_message = word == "DATA" and reply.startswith("354")
                sock.sendall(reply.encode() + b"\r\n")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    running = Store(tmp_path / "lmtp")
    yield running
    running.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "site/control").mkdir(parents=True)
    (tmp_path / "site/control/me").write_text("me.test\n")
    (tmp_path / "joe").mkdir(mode=0o755)
    return Site(home=str(tmp_path / "site"))


@pytest.fixture
def by_line(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """Deliver to joe with this .qmail line."""
    monkeypatch.chdir(tmp_path)

    def act(line: str, sender: bytes = b"s@x", local: bytes = b"joe") -> bytes:
        (tmp_path / "joe/.qmail").write_text(line + "\n")
        (tmp_path / "message").write_bytes(MESSAGE)
        fd = os.open(tmp_path / "message", os.O_RDONLY)
        try:
            it = LocalDelivery(b"joe", os.fsencode(tmp_path / "joe"), local, b"", b"", b"h", sender, b"./Mailbox")
            return deliver(site, it, fd, {}).text
        finally:
            os.close(fd)

    return act


def test_the_store_gets_envelope_and_lines(
    by_line: Callable[..., bytes], store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    assert by_line(f"|qmail-lmtp unix:{store.path}") == b"did 0+0+1\n"
    assert store.received.startswith(
        b"LHLO me.test\r\nMAIL FROM:<s@x>\r\nRCPT TO:<joe@h>\r\nDATA\r\n"
        b"Return-Path: <s@x>\r\nDelivered-To: joe@h\r\nSubject: x\r\n\r\nbody\r\n.\r\n"
    )
    assert capfd.readouterr().out == f"{store.path} accepted message.\nRemote host said: 250 in\n"


@pytest.mark.parametrize(
    ("words", "received"),
    [
        ('"$USER"', b"RCPT TO:<joe>\r\n"),
        ('"${USER}@mail.test"', b"RCPT TO:<joe@mail.test>\r\n"),
        ("-r", b"DATA\r\nDelivered-To: "),
        ("-rd", b"DATA\r\nSubject: x"),
    ],
)
def test_recipient_and_extra_lines_can_be_chosen(
    by_line: Callable[..., bytes], store: Store, words: str, received: bytes
) -> None:
    before, after = (words, "") if words.startswith("-") else ("", words)
    by_line(f"|qmail-lmtp {before} {store.path} {after}")
    assert received in store.received


@pytest.mark.parametrize(("sender", "received"), [(b"", b"<>"), (b"#@[]", b"<>"), (b"a b@x", b'<"a b"@x>')])
def test_senders_are_passed_on(by_line: Callable[..., bytes], store: Store, sender: bytes, received: bytes) -> None:
    by_line(f"|qmail-lmtp {store.path}", sender=sender)
    assert b"MAIL FROM:" + received + b"\r\n" in store.received


@pytest.mark.parametrize(
    ("verb", "reply", "failure", "text"),
    [
        ("LHLO", "500 what?", TemporaryFailure, b"but my name was rejected"),
        ("MAIL", "451 later", TemporaryFailure, b"sender was rejected"),
        ("RCPT", "550 no such user", PermanentFailure, b"550 no such user"),
        ("RCPT", "451 4.3.0 busy", TemporaryFailure, b"451 4.3.0 busy"),
        ("DATA", "451 no", TemporaryFailure, b"failed on DATA"),
        ("final", "552 5.2.2 full", PermanentFailure, b"552 5.2.2 full"),
        ("final", "451 4.2.0 later", TemporaryFailure, b"451 4.2.0 later"),
        ("final", "!close", TemporaryFailure, b"Possible duplicate! (#4.4.2)"),
        ("LHLO", "!close", TemporaryFailure, b"connection died. (#4.4.2)"),
    ],
)
def test_the_reply_of_the_store_decides(
    by_line: Callable[..., bytes], store: Store, verb: str, reply: str, failure: type[Failure], text: bytes
) -> None:
    store.replies[verb] = reply
    with pytest.raises(failure) as raised:
        by_line(f"|qmail-lmtp {store.path}\n./never")
    assert text in raised.value.text
    assert not Path("never").exists()


def test_a_store_that_refuses_temporarily(by_line: Callable[..., bytes], store: Store) -> None:
    store.greeting = "421 closing"
    with pytest.raises(TemporaryFailure, match="does not want mail now"):
        by_line(f"|qmail-lmtp {store.path}")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("|qmail-lmtp", "usage: qmail-lmtp"),
        ("|qmail-lmtp unix:lmtp", "usage: qmail-lmtp"),
        ("|qmail-lmtp -x /lmtp", "usage: qmail-lmtp"),
        ("|qmail-lmtp /nobody-here", "Unable to connect to /nobody-here: file does not exist"),
        ("|qmail-lmtp nobody.invalid", "Unable to connect to nobody.invalid: no such host"),
    ],
)
def test_configuration_errors_defer_the_mail(by_line: Callable[..., bytes], line: str, text: str) -> None:
    with pytest.raises(TemporaryFailure, match=text):
        by_line(line)


def test_no_command_is_smuggled_in_an_address(by_line: Callable[..., bytes], store: Store) -> None:
    with pytest.raises(PermanentFailure, match="line break"):
        by_line(f"|qmail-lmtp {store.path}", local=b"joe>\nQUIT\n<x")
    assert store.received == b""


def test_a_silent_store_is_left_at_the_limit(
    by_line: Callable[..., bytes], site: Site, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(site.control, "timeoutremote").write_text("1\n")
    store.replies["RCPT"] = "250-and"
    with pytest.raises(TemporaryFailure, match="connection died"):
        by_line(f"|qmail-lmtp {store.path}")


def test_the_program_reads_a_pipe(
    site: Site, store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.write(writing, MESSAGE)
    os.close(writing)
    saved = os.dup(0)
    os.dup2(reading, 0)
    try:
        environ = {b"EQMAIL_HOME": os.fsencode(site.home), b"SENDER": b"s@x"}
        assert qmail_lmtp.main([b"qmail-lmtp", os.fsencode(store.path), b"joe"], environ) == 0
        assert qmail_lmtp.main([b"qmail-lmtp", b"/nobody-here", b"joe"], environ) == 111
        assert qmail_lmtp.main([b"qmail-lmtp"], environ) == 111
    finally:
        os.dup2(saved, 0)
        for fd in (saved, reading):
            os.close(fd)
    assert b"DATA\r\nSubject: x\r\n\r\nbody\r\n.\r\n" in store.received
    assert "accepted message" in capfd.readouterr().out
