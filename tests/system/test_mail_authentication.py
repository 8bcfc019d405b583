"""Running services sign what begins here and mark what arrives, with the accounts that an installation has."""

import re
import smtplib
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


def envelope_senders(sink: ScriptedServer) -> list[bytes]:
    """The senders of all connections, in order."""
    return [line for text in sink.received for line in re.findall(rb"MAIL FROM:<([^>]*)>", bytes(text))]


def test_senders_are_rewritten_and_bounces_come_back(private_home: Path) -> None:
    home = private_home
    (home / "alias/.qmail-forwarded").write_text("&r@away.example\n")
    for scheme in ("srs", "batv"):
        made = eqmail("--home", home, scheme, "on")
        assert made.returncode == 0, made.stderr
    (home / "control/batvcheck").write_text("1\n")
    with ScriptedServer(PIPELINING) as sink, mail_system(home, sink) as running:
        running.send([f"forwarded@{ME}"], TEXT, sender="x@elsewhere.example")
        until(lambda: sink.messages == 1, "the forwarded message; the log says:\n" + running.log()[-2000:])
        assert running.inject(["-f", f"alias@{ME}"], TEXT).returncode == 0
        until(lambda: sink.messages == 2, "the injected message; the log says:\n" + running.log()[-2000:])
        forwarded, signed = (sender.decode() for sender in envelope_senders(sink))
        assert forwarded.startswith("SRS0=") and forwarded.endswith(f"=elsewhere.example=x@{ME}")
        assert signed.startswith("prvs=0") and signed.endswith(f"=alias@{ME}")
        running.send([forwarded], TEXT, sender="")
        until(lambda: sink.messages == 3, "the bounce; the log says:\n" + running.log()[-2000:])
        assert b"RCPT TO:<x@elsewhere.example>" in bytes(sink.received[-1])
        running.send([signed], TEXT, sender="")
        for recipient in (f"alias@{ME}", forwarded.replace("=x@", "=y@"), signed.replace("=alias", "=root")):
            with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
                running.send([recipient], TEXT, sender="")
            ((code, _),) = refused.value.recipients.values()
            assert code == 550
        running.send([f"alias@{ME}"], TEXT, sender="y@elsewhere.example")


@pytest.mark.root
@pytest.mark.slow
def test_the_accounts_of_smtp_and_remote_service_read_the_secrets(real_home: Path) -> None:
    assert eqmail("--home", real_home, "batv", "on").returncode == 0
    assert (real_home / "control/batvsecrets").stat().st_mode & 0o777 == 0o440
    with ScriptedServer(PIPELINING) as sink, mail_system(real_home, sink) as running:
        assert running.inject(["-f", f"postmaster@{ME}"], TEXT).returncode == 0
        until(lambda: sink.messages == 1, "the injected message; the log says:\n" + running.log()[-2000:])
        (signed,) = (sender.decode() for sender in envelope_senders(sink))
        assert signed.startswith("prvs=0")
        running.send([signed], TEXT, sender="")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            running.send([signed.replace("=postmaster", "=root")], TEXT, sender="")
    assert eqmail("--home", real_home, "batv", "off").returncode == 0


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
