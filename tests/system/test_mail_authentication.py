"""Running services sign what begins here and mark what arrives, with the accounts that an installation has."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import eqmail
from tests.support.mail_auth_harness import texts, verify
from tests.support.mail_system import MailSystem, until
from tests.support.scripted_server import PIPELINING, ScriptedServer

ME = "mail.example.org"
TEXT = f"From: joe@{ME}\nTo: r@away.example\nSubject: hello\n\nbody\n"


@contextmanager
def mail_system(home: Path, sink: ScriptedServer) -> Iterator[MailSystem]:
    """The services of a home with keys and checks, whose mail for other hosts goes to `sink`."""
    made = eqmail("--home", home, "dkim", "generate", ME)
    assert made.returncode == 0, made.stderr
    (home / "control/authcheck").write_text("mark\n")
    (home / "control/smtproutes").write_text(f":127.0.0.1:{sink.port}\n")
    running = MailSystem(home)
    try:
        yield running
    finally:
        running.stop()


def last_message(sink: ScriptedServer) -> bytes:
    """The message of the last connection as a receiver has it, with LF."""
    text = bytes(sink.received[-1])
    start = text.rindex(b"DATA\r\n") + 6
    return text[start : text.index(b"\r\n.\r\n", start) + 2].replace(b"\r\n", b"\n")


def inject_and_verify(running: MailSystem, sink: ScriptedServer) -> None:
    """Mail that a local program injects leaves with signatures by both keys."""
    assert running.inject([], TEXT).returncode == 0
    until(lambda: sink.messages == 1, "the injected message; the log says:\n" + running.log()[-2000:])
    folder = running.home / f"control/dkim/{ME}"
    records = {f"{path.stem}._domainkey.{ME}".encode(): path.read_bytes().strip() for path in folder.glob("*.txt")}
    assert [it.result for it in verify(last_message(sink), texts(records))] == [b"pass", b"pass"]


def test_what_is_injected_is_signed_and_what_is_forwarded_is_marked(private_home: Path) -> None:
    (private_home / "alias/.qmail-forwarded").write_text("&r@away.example\n")
    with ScriptedServer(PIPELINING) as sink, mail_system(private_home, sink) as running:
        inject_and_verify(running, sink)
        running.send([f"forwarded@{ME}"], TEXT, sender="x@elsewhere.example")
        until(lambda: sink.messages == 2, "the forwarded message; the log says:\n" + running.log()[-2000:])
        forwarded = last_message(sink)
        assert f"\nAuthentication-Results: {ME};\n".encode() in forwarded
        assert b"DKIM-Signature" not in forwarded


@pytest.mark.root
@pytest.mark.slow
def test_the_remote_account_reads_the_keys_and_bounces_are_signed(real_home: Path) -> None:
    with ScriptedServer(PIPELINING) as sink, mail_system(real_home, sink) as running:
        inject_and_verify(running, sink)
        running.send([f"no-such-mailbox@{ME}"], TEXT, sender="x@elsewhere.example")
        until(lambda: sink.messages == 2, "the bounce; the log says:\n" + running.log()[-2000:])
        bounce = last_message(sink)
        assert b"\nFrom: MAILER-DAEMON@" in bounce
        assert bounce.count(b"DKIM-Signature: ") == 2
