"""A new server on trial: a message is sent over SMTP and looked for where it has to arrive.

Fails: Refusal, with the reply of the server or what is missing.
"""

import os
import smtplib
import time
from email.utils import formatdate
from typing import NamedTuple

from eqmail_core.local.delivery.dotqmail import MAILDIR
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError
from eqmail_setup.mail.routing import forwards_of, route_address, text
from eqmail_setup.templating import render

_TIMEOUT_S = 60.0
_PAUSE_S = 0.05
_MAX_FORWARDS = 10
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class TestDelivery(NamedTuple):
    """What became of the message: `file` is where it lies, "" where it goes beyond what can be looked at: `beyond`."""

    recipient: str
    file: str
    beyond: str = ""


def send_test_message(site: Site, name: str, host: str, port: int) -> TestDelivery:
    """Wait for the server at an address it listens on, send a message to its postmaster and find it."""
    recipient = f"postmaster@{name}"
    folder, beyond = _end_of(site, recipient)
    mark = f"<{time.time_ns()}.{os.getpid()}.quickstart@{name}>"
    _send(_EVERYWHERE.get(host, host), port, name, recipient, mark)
    if not folder:
        return TestDelivery(recipient, "", beyond)
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        path = _find_message(mark.encode(), folder)
        if path:
            return TestDelivery(recipient, path)
        time.sleep(_PAUSE_S)
    raise EqmailError(
        f"{folder}: the test message is queued and does not arrive; the log says why, and: eqmail queue list"
    )


def _end_of(site: Site, address: str) -> tuple[str, str]:
    """The Maildir in which mail for an address ends; else what comes at the end instead."""
    for _ in range(_MAX_FORWARDS):
        found = route_address(site, os.fsencode(address))
        if found.failure:
            raise EqmailError(f"mail for {address} is not delivered: {found.failure}; see: eqmail explain {address}")
        if found.channel != "local":
            return "", f"{found.address}, by {found.relay}"
        for kind, argument in found.instructions:
            if kind == text(MAILDIR) and found.user:
                return os.path.normpath(os.path.join(os.fsdecode(found.user.home), argument)), ""
        forwards = forwards_of(found)
        if not forwards:
            return "", f"what {found.file or 'the default delivery'} says"
        address = forwards[0]
    return "", address


def _send(host: str, port: int, name: str, recipient: str, mark: str) -> None:
    letter = render("quickstart/welcome.eml.j2", to=recipient, date=formatdate(localtime=True), mark=mark, name=name)
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            with smtplib.SMTP(host, port, local_hostname="localhost", timeout=_TIMEOUT_S) as client:
                client.sendmail(recipient, [recipient], letter.replace(b"\n", b"\r\n"))
                return
        except (ConnectionError, smtplib.SMTPServerDisconnected, smtplib.SMTPConnectError) as error:
            if time.monotonic() > deadline:
                raise EqmailError(f"{host}:{port}: no answer ({error}); see the log of the services") from error
        except (OSError, smtplib.SMTPException) as error:
            raise EqmailError(f"{host}:{port}: the test message was refused: {error}") from error
        time.sleep(_PAUSE_S)


def _find_message(mark: bytes, maildir: str) -> str:
    """The message with this mark; "" while it is not there."""
    for part in ("new", "cur"):
        try:
            entries = sorted(os.scandir(f"{maildir}/{part}"), key=lambda entry: -entry.stat().st_mtime_ns)
        except FileNotFoundError:
            continue
        for entry in entries:
            try:
                with open(entry.path, "rb") as file:
                    if mark in file.read(8192):
                        return entry.path
            except FileNotFoundError:
                continue
    return ""
