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
    (home / "alias/.qmail-forwarded").write_text("&r@away.example\n")
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


def sign_and_mark(home: Path) -> None:
    with ScriptedServer(PIPELINING) as sink, mail_system(home, sink) as running:
        assert running.inject([], TEXT).returncode == 0
        until(lambda: sink.messages == 1, "the injected message; the log says:\n" + running.log()[-2000:])
        folder = home / f"control/dkim/{ME}"
        records = {f"{path.stem}._domainkey.{ME}".encode(): path.read_bytes().strip() for path in folder.glob("*.txt")}
        assert [it.result for it in verify(last_message(sink), texts(records))] == [b"pass", b"pass"]
        running.send([f"forwarded@{ME}"], TEXT, sender="x@elsewhere.example")
        until(lambda: sink.messages == 2, "the forwarded message; the log says:\n" + running.log()[-2000:])
        forwarded = last_message(sink)
        assert f"\nAuthentication-Results: {ME};\n".encode() in forwarded
        assert b"DKIM-Signature" not in forwarded


def test_services_of_one_user_sign_and_mark(private_home: Path) -> None:
    sign_and_mark(private_home)


@pytest.mark.root
@pytest.mark.slow
def test_services_with_real_accounts_sign_and_mark(real_home: Path) -> None:
    sign_and_mark(real_home)
