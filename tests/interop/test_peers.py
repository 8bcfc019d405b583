"""Mail from us to real Postfix, Exim and OpenSMTPD and from them to us: in plain text, with TLS, and with AUTH."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.smtpd.test_tls import put_certificate
from tests.support.foreign_servers import PASSWORD, USER, ForeignServer, Relay, foreign
from tests.support.mail_clients import RecordingProxy, client_mail_system
from tests.support.mail_system import MailSystem, make_maildir, messages, until

pytestmark = [pytest.mark.slow, pytest.mark.root]
ME = "mail.example.org"
BOX = f"box@{ME}"
ELSEWHERE = "box@elsewhere.test"
OURS, SECRET = "joe", "our own secret"

# What gets lost first: dots, eight bits, a long line.
TEXT = "Subject: one of each\n\n.\n..\n.dot\nblåbär\n" + "x" * 900 + "\nend\n"
BODY = TEXT.partition("\n\n")[2]
# More than any client puts into one chunk.
LONG = TEXT + "".join(f"{number} .and so on, line by line\n.\n" for number in range(20_000))

EVERYBODY = ("postfix", "exim", "opensmtpd")
# OpenSMTPD as Debian 12 builds it cannot use its private key with OpenSSL 3: no client gets TLS, and so AUTH, from it.
TLS_SERVERS = ("postfix", "exim")


@contextmanager
def _mail_system(home: Path, keeps_clear: bool = False) -> Iterator[MailSystem]:
    """Our services, with a box, a user for AUTH, a certificate, and a domain that takes mail after AUTH alone.

    `keeps_clear`: the user's secret is kept as it is, and so CRAM-MD5 is offered.
    """
    make_maildir(home / "alias/Maildir")
    for name in ("box", "outside-default"):
        (home / f"alias/.qmail-{name}").write_text("./Maildir/\n")
    (home / "control/virtualdomains").write_text("elsewhere.test:outside\n")
    encrypted = subprocess.run(
        [home / "bin/qmail-chkpw", "-r"], input=f"{SECRET}\n", capture_output=True, text=True, check=True
    )
    (home / "users/smtpauth").write_text(f"{OURS}:{SECRET if keeps_clear else encrypted.stderr.strip()}\n")
    (home / "control/smtpcheckpw").write_text(f"{home}/bin/qmail-chkpw /bin/true\n")
    put_certificate(home / "control/servercert.pem", ME, "127.0.0.1")
    running = MailSystem(home)
    try:
        yield running
    finally:
        running.stop()


def _send(mail_system: MailSystem, peer: ForeignServer, route: str, recipient: str) -> str:
    """Send the text by this route; the first report about the delivery."""
    (mail_system.home / "control/smtproutes").write_text(f":{route}\n")
    done = mail_system.inject(["-f", f"joe@{ME}", recipient], TEXT)
    assert done.returncode == 0, done.stderr
    until(lambda: "\ndelivery 1: " in mail_system.log(), f"a report:\n{mail_system.log()}\n{peer.log()}")
    (line,) = re.findall(r"^delivery 1: (.*)$", mail_system.log(), re.M)
    return str(line)


def _arrives(peer: ForeignServer, mail_system: MailSystem) -> str:
    """The one message that the peer gets, whole."""
    until(peer.mail, f"the message\n{mail_system.log()}\n{peer.log()}")
    (text,) = peer.mail()
    assert text.partition("\n\n")[2] == BODY
    return text


def _comes_to_us(mail_system: MailSystem, peer: ForeignServer, sent: str = TEXT) -> str:
    """The one message that we get, whole."""
    maildir = mail_system.home / "alias/Maildir"
    until(lambda: messages(maildir), f"the message\n{mail_system.log()}\n{peer.log()}")
    (text,) = messages(maildir)
    assert text.partition("\n\n")[2] == sent.partition("\n\n")[2]
    return text


# ------------------------------------------------------------------ from us to them


@pytest.mark.parametrize("name", EVERYBODY)
def test_peers_take_our_mail(private_home: Path, name: str) -> None:
    with foreign(name, offers_tls=False) as peer, _mail_system(private_home) as mail_system:
        assert _send(mail_system, peer, f"127.0.0.1:{peer.port}", f"box@{peer.domain}").startswith("success: ")
        _arrives(peer, mail_system)


@pytest.mark.parametrize("name", TLS_SERVERS)
def test_peers_take_our_mail_with_tls(private_home: Path, name: str) -> None:
    with foreign(name) as peer, _mail_system(private_home) as mail_system:
        assert _send(mail_system, peer, f"127.0.0.1:{peer.port}", f"box@{peer.domain}").startswith("success: ")
        assert re.search(r"with ESMTPS|with esmtps", _arrives(peer, mail_system))


@pytest.mark.parametrize("name", TLS_SERVERS)
def test_mail_to_an_unverified_peer_waits(private_home: Path, name: str) -> None:
    with foreign(name) as peer, foreign(name) as other, _mail_system(private_home) as mail_system:
        (mail_system.home / "control/tlshosts").mkdir()
        (mail_system.home / "control/tlshosts/127.0.0.1.pem").write_bytes((other.folder / "authority.pem").read_bytes())
        report = _send(mail_system, peer, f"127.0.0.1:{peer.port}", f"box@{peer.domain}")
        assert report.startswith("deferral: TLS_unable_to_verify_server_with_control/tlshosts/127.0.0.1.pem:")
        assert not peer.mail()


@pytest.mark.parametrize("name", TLS_SERVERS)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_peers_relay_for_us_after_auth(private_home: Path, name: str, tls: bool) -> None:
    """The peer relays what we may send after AUTH, back to us."""
    with _mail_system(private_home) as mail_system, foreign(name, Relay(mail_system.port), offers_tls=tls) as peer:
        (mail_system.home / "control/virtualdomains").write_text("")
        report = _send(mail_system, peer, f"127.0.0.1:{peer.port} {USER} {PASSWORD}", ELSEWHERE)
        assert report.startswith("success: ")
        # It is undeliverable, but the peer has accepted it.
        assert "elsewhere.test" in peer.log() or not peer.mail()


@pytest.mark.parametrize("name", TLS_SERVERS)
def test_peers_refuse_us_without_the_password(private_home: Path, name: str) -> None:
    with foreign(name, Relay(1)) as peer, _mail_system(private_home) as mail_system:
        report = _send(mail_system, peer, f"127.0.0.1:{peer.port} {USER} wrong", "box@outside.test")
        assert report.startswith("deferral: Connected_to_127.0.0.1_but_authentication_was_rejected_(")


@pytest.mark.parametrize("falls_back", [False, True])
def test_a_peer_whose_tls_is_broken(private_home: Path, falls_back: bool) -> None:
    """OpenSMTPD as Debian 12 builds it offers TLS and cannot do it: the mail waits, or goes in plain text if it may."""
    with foreign("opensmtpd") as peer, _mail_system(private_home) as mail_system:
        if falls_back:
            (mail_system.home / "control/tlsfallback").write_text("1\n")
        report = _send(mail_system, peer, f"127.0.0.1:{peer.port}", f"box@{peer.domain}")
        if falls_back:
            assert report.startswith("success: ")
            assert "with ESMTPS" not in _arrives(peer, mail_system)
        else:
            assert report.startswith("deferral: TLS_connect_failed:")


# ------------------------------------------------------------------ from them to us


@pytest.mark.parametrize("name", EVERYBODY)
def test_we_take_their_mail(private_home: Path, name: str) -> None:
    with _mail_system(private_home) as mail_system, foreign(name, Relay(mail_system.port), open_relay=True) as peer:
        peer.give("somebody@example.net", [BOX], TEXT)
        assert "with ESMTP;" in _comes_to_us(mail_system, peer)


@pytest.mark.parametrize("name", EVERYBODY)
def test_we_take_their_mail_with_tls(private_home: Path, name: str) -> None:
    with (
        _mail_system(private_home) as mail_system,
        foreign(name, Relay(mail_system.port, tls=True), open_relay=True) as peer,
    ):
        peer.give("somebody@example.net", [BOX], TEXT)
        assert "with ESMTPS" in _comes_to_us(mail_system, peer)


@pytest.mark.parametrize(
    ("name", "keeps_clear"),
    [*((name, False) for name in EVERYBODY), ("postfix", True)],
    ids=[*EVERYBODY, "postfix-clear"],
)
def test_we_relay_for_them_after_auth(private_home: Path, name: str, keeps_clear: bool) -> None:
    """Postfix takes CRAM-MD5 wherever it is offered: it is where secrets are clear text, and nowhere else."""
    with (
        _mail_system(private_home, keeps_clear) as mail_system,
        foreign(name, Relay(mail_system.port, True, OURS, SECRET), open_relay=True) as peer,
    ):
        peer.give("somebody@example.net", [ELSEWHERE], TEXT)
        assert "with ESMTPSA" in _comes_to_us(mail_system, peer)


@pytest.mark.parametrize("name", EVERYBODY)
def test_we_take_their_mail_with_tls_from_the_first_byte(private_home: Path, name: str) -> None:
    with (
        client_mail_system(private_home) as mail_system,
        foreign(name, Relay(mail_system.tls_port, tls=True, tls_first=True), open_relay=True) as peer,
    ):
        peer.give("somebody@example.net", [BOX], TEXT)
        assert "with ESMTPS" in _comes_to_us(mail_system, peer)


@pytest.mark.parametrize("name", EVERYBODY)
def test_exim_alone_sends_chunks_where_they_are_offered(private_home: Path, name: str) -> None:
    """Seen on the wire; a long message goes in several chunks."""
    with client_mail_system(private_home) as mail_system:
        proxy = RecordingProxy(mail_system.port)
        try:
            with foreign(name, Relay(proxy.port), open_relay=True) as peer:
                peer.give("somebody@example.net", [BOX], LONG)
                assert "with ESMTP;" in _comes_to_us(mail_system, peer, LONG)
        finally:
            proxy.close()
    commands = b"".join(proxy.client_data)
    assert (commands.count(b"BDAT ") > 1) == (name == "exim")
    assert (b"\r\nDATA\r\n" in commands) == (name != "exim")


@pytest.mark.parametrize("first", [False, True], ids=["starttls", "first"])
def test_chunks_are_received_under_tls_too(private_home: Path, first: bool) -> None:
    """Exim's log has a K where it sent chunks."""
    with client_mail_system(private_home) as mail_system:
        port = mail_system.tls_port if first else mail_system.port
        with foreign("exim", Relay(port, tls=True, tls_first=first), open_relay=True) as peer:
            peer.give("somebody@example.net", [BOX], LONG)
            assert "with ESMTPS" in _comes_to_us(mail_system, peer, LONG)
            until(lambda: re.search(r" => box@.* X=TLS.* K ", peer.log()), f"the chunks:\n{peer.log()}")


@pytest.mark.parametrize("name", EVERYBODY)
def test_we_refuse_them_without_auth(private_home: Path, name: str) -> None:
    with (
        _mail_system(private_home) as mail_system,
        foreign(name, Relay(mail_system.port, True), open_relay=True) as peer,
    ):
        peer.give("somebody@example.net", [ELSEWHERE], TEXT)
        until(lambda: "553" in peer.log(), f"our refusal:\n{peer.log()}\n{mail_system.log()}")
        assert not messages(mail_system.home / "alias/Maildir")
