"""One SMTP conversation with a server, step by step, without sending mail: what it says and offers, and how fast.

Fails: never; where a step fails the next ones are left out, and the failure is its answer.
"""

import smtplib
import socket
import ssl
from collections.abc import Iterator
from time import monotonic
from typing import NamedTuple

TIMEOUT_S = 15.0
"""How long one step may take, in seconds."""

IMPLICIT_TLS_PORT = 465


class ProbeStep(NamedTuple):
    """One step: its name, whether it succeeded, what the server said, and the seconds that it took."""

    name: str
    is_done: bool
    text: str
    seconds: float


def probe_smtp(
    host: str, port: int, hello: str, recipient: str = "", timeout_s: float = TIMEOUT_S
) -> Iterator[ProbeStep]:
    """Yield the steps; with a `recipient`, MAIL and RCPT are tried and taken back by RSET."""
    started = monotonic()
    is_implicit = port == IMPLICIT_TLS_PORT
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client: smtplib.SMTP
    try:
        if is_implicit:
            client = smtplib.SMTP_SSL(host, port, hello, timeout=timeout_s, context=context)
        else:
            client = smtplib.SMTP(host, port, hello, timeout=timeout_s)
    except smtplib.SMTPConnectError as error:
        greeting = error.smtp_error.encode() if isinstance(error.smtp_error, str) else error.smtp_error
        yield ProbeStep("greeting", False, _text(error.smtp_code, greeting), monotonic() - started)
        return
    except (OSError, smtplib.SMTPException) as error:
        yield ProbeStep("connect", False, _reason(error), monotonic() - started)
        return
    peer = client.sock.getpeername()[0] if client.sock else host
    yield ProbeStep("connect", True, f"{peer} port {port}", monotonic() - started)
    steps = _converse(client, host, is_implicit, recipient)
    while True:
        began = monotonic()
        try:
            name, is_done, text = next(steps)
        except StopIteration:
            break
        except (OSError, smtplib.SMTPException) as error:
            yield ProbeStep("conversation", False, _reason(error), monotonic() - began)
            break
        yield ProbeStep(name, is_done, text, monotonic() - began)
    client.close()


def _converse(client: smtplib.SMTP, host: str, is_secure: bool, recipient: str) -> Iterator[tuple[str, bool, str]]:
    code, _ = client.ehlo()
    yield "EHLO", code == 250, ", ".join(sorted(name.upper() for name in client.esmtp_features)) or f"{code}"
    if is_secure:
        yield "TLS", True, _tls_of(client)
    elif client.has_extn("starttls"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client.starttls(context=context)
        client.ehlo()
        yield "STARTTLS", True, _tls_of(client)
    else:
        yield "STARTTLS", False, "not offered"
    if recipient:
        code, said = client.mail("")
        yield "MAIL", code == 250, _text(code, said)
        if code == 250:
            code, said = client.rcpt(recipient)
            yield "RCPT", code in (250, 251), _text(code, said)
        client.rset()
    code, said = client.quit()
    yield "QUIT", code == 221, _text(code, said)


def _tls_of(client: smtplib.SMTP) -> str:
    if not isinstance(client.sock, ssl.SSLSocket):
        return "no TLS"
    cipher = client.sock.cipher()
    return f"{client.sock.version()}, {cipher[0] if cipher else 'unknown cipher'}"


def _text(code: int, said: bytes) -> str:
    return f"{code} {' '.join(said.decode('utf-8', 'replace').split())}"


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return f"unknown host: {error.strerror}"
    return str(getattr(error, "strerror", None) or error)
