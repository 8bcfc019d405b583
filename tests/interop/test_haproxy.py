"""Behind a real HAProxy, which names the client by its PROXY protocol: Debian 12's package, unpacked.

It connects from an address of its own, the only one that `proxyfrom` trusts.
"""

import smtplib
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.smtpd.test_tls import AUTHORITY, put_certificate
from tests.support.foreign_servers import unpacked
from tests.support.mail_system import free_port, make_maildir, messages, until
from tests.system.test_tls_listener import TlsMailSystem

pytestmark = pytest.mark.slow
ME = "mail.example.org"
PROXY, ANN, BOB = "127.0.0.9", "127.0.0.77", "127.0.0.78"

CONFIGURATION = """
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen v1
    bind 127.0.0.1:{v1}
    server it 127.0.0.1:{smtp} source {proxy} send-proxy
listen v2
    bind 127.0.0.1:{v2}
    server it 127.0.0.1:{smtp} source {proxy} send-proxy-v2
listen passes_tls_on
    bind 127.0.0.1:{tls}
    server it 127.0.0.1:{smtps} source {proxy} send-proxy-v2
listen takes_tls_off
    bind 127.0.0.1:{off} ssl crt {certificate}
    server it 127.0.0.1:{smtp} source {proxy} send-proxy-v2-ssl-cn
listen looks_first
    bind 127.0.0.1:{looks}
    option smtpchk EHLO looks.test
    server it 127.0.0.1:{smtp} source {proxy} send-proxy-v2 check-send-proxy check inter 300ms fall 1 rise 1
"""
PORTS = ("v1", "v2", "tls", "off", "looks")


class ManagedInstallation(NamedTuple):
    """The mail system, and the ports of the proxy by name."""

    mail_system: TlsMailSystem
    ports: dict[str, int]


@pytest.fixture
def installation(private_home: Path, tmp_path: Path) -> Iterator[ManagedInstallation]:
    make_maildir(private_home / "alias/Maildir")
    (private_home / "alias/.qmail-box").write_text("./Maildir/\n")
    (private_home / "control/proxyfrom").write_text(f"{PROXY}\n")
    (private_home / "control/smtpperaddress").write_text("1\n")
    (private_home / "control/receivedesmtp").write_text("1\n")
    certificate = private_home / "control/servercert.pem"
    put_certificate(certificate, ME, "127.0.0.1")
    mail_system = TlsMailSystem(private_home)
    ports = {name: free_port() for name in PORTS}
    places = ports | {"smtp": mail_system.port, "smtps": mail_system.tls_port}
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(CONFIGURATION.format(proxy=PROXY, certificate=certificate, **places))
    command = [unpacked("haproxy") / "usr/sbin/haproxy", "-db", "-f", configuration]
    with (tmp_path / "haproxy.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as haproxy:
        try:
            until(lambda: is_up(ports["v1"]), f"HAProxy: {(tmp_path / 'haproxy.log').read_text()}")
            yield ManagedInstallation(mail_system, ports)
        finally:
            haproxy.terminate()
            mail_system.stop()


def is_up(port: int) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=60, source_address=(BOB, 0)) as client:
            return client.noop()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def plain(port: int, address: str = ANN) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", port, "client.test", timeout=60, source_address=(address, 0))


def over_tls(port: int) -> smtplib.SMTP:
    return smtplib.SMTP_SSL("127.0.0.1", port, "client.test", timeout=60, source_address=(ANN, 0), context=trusting())


@pytest.mark.parametrize(
    ("name", "connect", "protocol"),
    [
        ("v1", plain, "ESMTP"),
        ("v2", plain, "ESMTP"),
        ("tls", over_tls, "ESMTPS"),
        ("off", over_tls, "ESMTP"),
        ("looks", plain, "ESMTP"),
    ],
)
def test_the_client_is_the_one_the_proxy_names(
    name: str, connect: Callable[[int], smtplib.SMTP], protocol: str, installation: ManagedInstallation
) -> None:
    if name == "looks":
        time.sleep(1)  # three health checks of the proxy, which would find no server otherwise
    with connect(installation.ports[name]) as client:
        client.sendmail("a@example.net", [f"box@{ME}"], f"Subject: {name}\n\n1\n")
    until(lambda: messages(installation.mail_system.home / "alias/Maildir"), "the message")
    (text,) = messages(installation.mail_system.home / "alias/Maildir")
    head = text.partition("\n\n")[0]
    assert f"(HELO client.test) ({ANN})" in head or f"(client.test) ({ANN})" in head, head
    assert f" with {protocol} " in head or f" with {protocol};" in head, head
    until(lambda: f"from {ANN} to box@{ME}" in installation.mail_system.log(), "the client in the log")


def test_limits_are_those_of_the_client_and_not_of_the_proxy(installation: ManagedInstallation) -> None:
    until(lambda: is_up(installation.ports["v2"]), "the end of the first look")
    with plain(installation.ports["v2"], ANN) as ann, plain(installation.ports["v1"], BOB) as bob:
        assert [client.noop()[0] for client in (ann, bob)] == [250, 250]
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            plain(installation.ports["v1"], ANN)
        assert refused.value.smtp_code == 421


def test_only_a_trusted_proxy_may_name_the_client(installation: ManagedInstallation) -> None:
    """A client that bypasses the proxy keeps its own address, and its header is an unknown command."""
    with smtplib.SMTP("127.0.0.1", installation.mail_system.port, timeout=60) as client:
        assert client.docmd(f"PROXY TCP4 {ANN} 127.0.0.1 1 25")[0] == 500
