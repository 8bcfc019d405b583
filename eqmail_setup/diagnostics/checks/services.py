"""What the doctor asks of running services: whether they listen, answer, refuse to relay, and run the present code.

Fails: never; an end of a connection is a finding.
"""

import os
import smtplib
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator
from datetime import datetime

import eqmail_core
from eqmail_core.access.networks import NetworkSet
from eqmail_core.control.controls import Controls
from eqmail_core.service.parent import is_stopped
from eqmail_core.service.probe import trouble_with
from eqmail_core.service.record import read_listeners, read_record
from eqmail_core.service.status import DOWN, READY, STARTING
from eqmail_core.site.site import Site
from eqmail_core.smtpd.policy.config import submission_ports
from eqmail_core.system.installation import read_controls
from eqmail_core.text.listen_address import parse_listen_address
from eqmail_setup.diagnostics.commands import restart_command, start_command
from eqmail_setup.diagnostics.finding import ERROR, NOTE, WARNING, Finding
from eqmail_setup.network.listeners import listeners
from eqmail_setup.network.processes import process_start
from eqmail_setup.settings.reload import running_pid

TIMEOUT_S = 10.0

LATELY_S = 86400
"""A service that ended longer ago is no news any more."""

UNUSED_RECIPIENT = "doctor@relay-test.invalid"
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
_SOCKETS = {
    "queue": "nothing can be queued",
    "send": "nothing is delivered",
    "local": "nothing is delivered here",
    "remote": "nothing is delivered elsewhere",
    "lookup": "recipients are accepted unseen",
}
_STATES = {STARTING: "starting", DOWN: "down"}
_FOR_PEOPLE = {b"465", b"587"}
_AUTHENTICATION_REQUIRED = 530
_AUTH_REFUSED = 535
_REFUSALS = 400
_NOBODY = b64encode(b"\0doctor-test@relay-test.invalid\0doctor-test").decode()
"""The credentials of a login that does not exist, in the form of AUTH PLAIN."""


def check_listening(site: Site, addresses: Iterable[str]) -> Iterator[Finding]:
    """Whether the services run, and answer where they should."""
    pid = running_pid(site)
    if not pid:
        yield Finding("listening.stopped", WARNING, "the services do not run", start_command(site))
        return
    if is_stopped(pid):
        fact = f"process {pid} (qmail-start) is stopped, so mail is accepted and not delivered"
        yield Finding("listening.paused", WARNING, fact, ("kill", "-CONT", str(pid)))
    yield from _old_code(site, pid)
    yield from services_now(site, int(time.time()))
    yield from _passwords(site)
    for address in _addresses(site, addresses):
        try:
            with socket.create_connection(_endpoint(address), TIMEOUT_S) as sock:
                sock.settimeout(TIMEOUT_S)
                greeting = sock.recv(512)
        except OSError as error:
            fact = f"{address}: {error.strerror or error}"
            yield Finding("listening.smtp", ERROR, fact, restart_command(site))
            continue
        if not greeting.startswith(b"220"):
            fact = f"{address}: greets with {greeting[:60].decode('latin-1').strip()!r}"
            yield Finding("listening.smtp", ERROR, fact, "look into the log of the server")


def _old_code(site: Site, pid: int) -> Iterator[Finding]:
    """Whether the code was replaced since the services were started."""
    started = process_start(pid)
    installed = os.stat(eqmail_core.__file__).st_ctime
    if started and installed > started:
        fact = f"the services run since {_clock(int(started))}, with code that was replaced at {_clock(int(installed))}"
        yield Finding("listening.old-code", WARNING, fact, restart_command(site))


def services_now(site: Site, now: int) -> Iterator[Finding]:
    """Which services do not serve, or have ended of late: since when, how often, and why."""
    try:
        found = read_record(site)
    except (OSError, ValueError):
        found = []
    for status in found:
        history = (
            f"ended {status.ends} times, last at {_clock(status.ended_at)}: {status.reason}" if status.ends else ""
        )
        if status.state != READY:
            fact = f"{status.name}: {_STATES[status.state]} since {_clock(status.since)}" + (
                f"; {history}" if history else ""
            )
            yield Finding("listening.service", ERROR, fact, "solve what the reason names; the service tries again")
        elif status.ends and now - status.ended_at < LATELY_S:
            fact = f"{status.name}: {history}; it runs again since {_clock(status.since)}"
            yield Finding("listening.restarted", WARNING, fact, "look into the log around that time")
    workers = range(2, (read_controls(site).remoteworkers if found else 1) + 1)
    for name, socket_name in [*((name, name) for name in _SOCKETS), *(("remote", f"remote{n}") for n in workers)]:
        failure = trouble_with(site, name, socket_name, TIMEOUT_S)
        if failure:
            fact = f"{site.socket(socket_name)}: {failure}, so {_SOCKETS[name]}"
            yield Finding(f"listening.{name}", ERROR, fact, restart_command(site))


def _clock(when: int) -> str:
    return f"{datetime.fromtimestamp(when):%Y-%m-%d %H:%M:%S}"


def _passwords(site: Site) -> Iterator[Finding]:
    """Whether the resident SMTP service, as it was started, takes passwords only under TLS, and mail only with them."""
    if not read_controls(site).smtpcheckpw:
        return
    pid = running_pid(site)
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            fields = [field.partition(b"=") for field in file.read().split(b"\0")]
    except OSError:
        return
    variables = {name: value for name, _, value in fields}
    ports = {b"%d" % one.port for one in listeners() if pid in one.pids} & _FOR_PEOPLE
    for port in sorted(ports - set(submission_ports(variables)) - _with_login(site)):
        fact = f"port {port.decode()}: takes mail for this host from anybody, without a password"
        role = "submissions" if port == b"465" else "submission"
        remedy = (
            f"give its listener the role {role}: in {site.control}/{Controls.smtplisten.file}, or in its service file"
        )
        yield Finding("listening.submission", WARNING, fact, remedy)
    has_certificate = os.path.exists(f"{site.control}/{Controls.servercert.file}")
    if variables.get(b"TLSREQUIRED", b"1" if has_certificate else b"") != b"1":
        fact = f"{site.control}/{Controls.smtpcheckpw.file}: is set, and passwords are taken without TLS, too"
        remedy = "start the services with TLSREQUIRED=1 in their environment, as the files of eqmail gen-... do"
        yield Finding("listening.clear-passwords", WARNING, fact, remedy)


def _with_login(site: Site) -> set[bytes]:
    """The ports of the running SMTP service whose role requires a login."""
    try:
        found = [parse_listen_address(line) for line in read_listeners(site)]
    except OSError:
        return set()
    return {b"%d" % at.port for at in found if at and at.role.needs_login}


def check_open_relay(site: Site, addresses: Iterable[str]) -> Iterator[Finding]:
    """Whether the running server refuses to relay and takes mail for its own postmaster; no mail is sent."""
    if not running_pid(site):
        return
    controls = read_controls(site)
    trusted = NetworkSet(controls.relayclients)
    for address in _addresses(site, addresses):
        host, port = _endpoint(address)
        try:
            with smtplib.SMTP(host, port, local_hostname="localhost", timeout=TIMEOUT_S) as client:
                client.ehlo()
                yield from _secured(site, client, address)
                if client.mail(UNUSED_RECIPIENT)[0] == _AUTHENTICATION_REQUIRED:
                    continue  # a submission port, which takes no mail from clients without a login
                foreign, _ = client.rcpt("unknown@relay-test.invalid")
                own, said = client.rcpt(f"postmaster@{os.fsdecode(controls.me or b'localhost')}")
        except (OSError, smtplib.SMTPException) as error:
            yield Finding("selftest.dialogue", ERROR, f"{address}: {error}", "look into the log of the server")
            continue
        if foreign < 400 and trusted.includes(host.encode()):
            fact = f"{address}: {host} may relay, so other clients cannot be tested from here"
            yield Finding("selftest.trusted", NOTE, fact, "repeat the test from another host")
        elif foreign < 400:
            fact = f"{address}: open relay: takes mail from anyone to anywhere"
            yield Finding("selftest.relays", ERROR, fact, ("eqmail", "doctor", "--only", "relaying"))
        if own >= 400:
            fact = f"{address}: refuses mail for its postmaster: {own} {said.decode('latin-1')}"
            yield Finding("selftest.postmaster", ERROR, fact, ("eqmail", "domain", "list"))


def _secured(site: Site, client: smtplib.SMTP, address: str) -> Iterator[Finding]:
    """Whether TLS begins where there is a certificate, and whether passwords are looked at; the session goes on."""
    certificate = f"{site.control}/{Controls.servercert.file}"
    if client.has_extn("starttls"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client.starttls(context=context)
        client.ehlo()
    elif os.path.exists(certificate):
        fact = f"{address}: offers no STARTTLS, though there is {certificate}"
        yield Finding("selftest.tls", ERROR, fact, ("eqmail", "doctor", "--only", "certificates"))
    controls = read_controls(site)
    if not controls.smtpcheckpw or (controls.authmethods or b"").endswith(b"-"):
        return
    if not client.has_extn("auth"):
        fact = f"{address}: offers no AUTH, though there is {site.control}/{Controls.smtpcheckpw.file}"
        yield Finding("selftest.auth", WARNING, fact, ("eqmail", "cert", "make"))
    elif "PLAIN" in client.esmtp_features["auth"].split():
        code, said = client.docmd("AUTH", f"PLAIN {_NOBODY}")
        if code < _REFUSALS:
            fact = f"{address}: accepts an invalid password: {code} {said.decode('latin-1')}"
            yield Finding("selftest.auth", ERROR, fact, f"see to the program in {Controls.smtpcheckpw.file}")
        elif code != _AUTH_REFUSED:
            fact = f"{address}: cannot check passwords: {code} {said.decode('latin-1')}"
            yield Finding("selftest.auth", ERROR, fact, f"see to the program in {Controls.smtpcheckpw.file}")


def _addresses(site: Site, given: Iterable[str]) -> list[str]:
    lines = list(given) or [os.fsdecode(line) for line in read_controls(site).smtplisten or []]
    at = {line: parse_listen_address(line) for line in lines}
    # What is no address is a finding among the settings.
    return [line for line, address in at.items() if address is not None and not address.role.is_tls]


def _endpoint(address: str) -> tuple[str, int]:
    at = parse_listen_address(address)
    assert at is not None
    return _EVERYWHERE.get(at.host, at.host), at.port
