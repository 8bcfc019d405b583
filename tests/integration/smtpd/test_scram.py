"""SCRAM-SHA-256 by the program and the service: the keys in users/smtpauth prove a login, the checker is not run."""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_core.auth.scram import keys_of
from eqmail_core.smtpd.policy import authentication
from tests.integration.smtpd.test_tls import Client, put_certificate, resident, waiting
from tests.support.smtp_servers import Home
from tests.unit.auth.test_scram import SALT, proof

FIRST = b"n,,n=joe,r=abcdefgh"
REFUSED = "535 authentication failed (#5.7.1)\r\n"
MALFORMED = "501 malformed auth input (#5.5.4)\r\n"

Serve = Callable[..., "object"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home", smtpcheckpw="bin/qmail-chkpw true\n")
    # The checker must not be needed: it refuses whoever is brought to it.
    (tmp_path / "home/bin/qmail-chkpw").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "home/bin/qmail-chkpw").chmod(0o755)
    users = Path(home.site.users)
    users.mkdir(exist_ok=True)
    (users / "smtpauth").write_bytes(b"joe:%b\nann:$6$x$y\n" % keys_of(b"pencil", SALT).text())
    put_certificate(Path(home.site.control) / "servercert.pem", "mx.test")
    return home


@pytest.fixture(params=[waiting, resident], ids=["waiting", "resident"])
def serve(request: pytest.FixtureRequest) -> Serve:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "FAILED_AUTH_PAUSE_S", 0.0)


def log_in(client: Client, first: bytes, password: bytes, method: str = "SCRAM-SHA-256", binding: bytes = b"") -> str:
    """Play the client's part; the last reply."""
    challenge = client.say(f"AUTH {method} {b64encode(first).decode()}")
    if not challenge.startswith("334 "):
        return challenge
    final = proof(password, first, b64decode(challenge[4:]), binding)
    answer = client.say(b64encode(final).decode())
    if not answer.startswith("334 "):
        return answer
    assert b64decode(answer[4:]).startswith(b"v=")
    return client.say("")


def test_the_right_password_logs_in(home: Home, serve: Serve) -> None:
    with serve(home) as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        assert "250 AUTH LOGIN PLAIN SCRAM-SHA-256\r\n" in client.say("EHLO c")
        assert log_in(client, FIRST, b"pencil") == "235 ok, joe, go ahead (#2.0.0)\r\n"
        assert client.say("MAIL FROM:<a@b>", "RCPT TO:<x@foreign.test>") == "250 ok\r\n"


@pytest.mark.parametrize(
    ("first", "password"),
    [(FIRST, b"pen"), (FIRST.replace(b"joe", b"ann"), b"y"), (FIRST.replace(b"joe", b"who"), b"")],
)
def test_a_wrong_proof_and_an_unknown_login_are_refused_alike(
    home: Home, serve: Serve, first: bytes, password: bytes
) -> None:
    with serve(home) as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        assert log_in(client, first, password) == REFUSED
        assert client.say("MAIL FROM:<a@b>", "RCPT TO:<x@foreign.test>").startswith("553 ")


def test_bad_messages_are_refused_and_the_session_goes_on(home: Home, serve: Serve) -> None:
    with serve(home) as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        assert client.say("AUTH SCRAM-SHA-256") == "334 \r\n"
        assert client.say("*") == "501 auth exchange canceled (#5.0.0)\r\n"
        assert client.say("AUTH SCRAM-SHA-256 !!") == MALFORMED
        assert client.say(f"AUTH SCRAM-SHA-256 {b64encode(b'n,,x').decode()}") == MALFORMED
        assert client.say(f"AUTH SCRAM-SHA-256 {b64encode(FIRST).decode()}").startswith("334 ")
        assert client.say(b64encode(b"nonsense").decode()) == MALFORMED
        assert client.say("AUTH SCRAM-SHA-256-PLUS") == "504 auth type unimplemented (#5.5.1)\r\n"
        assert log_in(client, FIRST, b"pencil").startswith("235 ")


def test_under_tls_the_proof_can_be_bound_to_the_certificate(home: Home, serve: Serve) -> None:
    first = FIRST.replace(b"n,,", b"p=tls-server-end-point,,")
    with serve(home, TLSREQUIRED="1") as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        assert "AUTH SCRAM-SHA-256\r\n" in client.say("EHLO c")
        client.start_tls()
        assert "AUTH LOGIN PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS\r\n" in client.say("EHLO c")
        der = client.tls.getpeercert(binary_form=True)
        assert der is not None
        assert log_in(client, first, b"pencil", "SCRAM-SHA-256-PLUS", b"x" * 32) == MALFORMED
        # A client that could bind, and was told that it cannot.
        assert log_in(client, b"y" + FIRST[1:], b"pencil") == MALFORMED
        digest = hashlib.sha256(der).digest()
        assert log_in(client, first, b"pencil", "SCRAM-SHA-256-PLUS", digest).startswith("235 ")


def test_keys_that_cannot_be_read_are_trouble_for_now(home: Home, serve: Serve) -> None:
    with serve(home) as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        (Path(home.site.users) / "smtpauth").unlink()
        assert log_in(client, FIRST, b"pencil").startswith("454 ")
        assert client.say("NOOP") == "250 ok\r\n"
