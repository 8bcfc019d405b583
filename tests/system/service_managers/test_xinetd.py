"""xinetd runs the SMTP server of the page: tcp-env, then the script that sends its log to syslog."""

import smtplib
import socket
from pathlib import Path

import pytest

from tests.support.mail_system import until
from tests.support.service_managers import ManagedInstallation, demand

CONFIGURATION = """defaults
{{
        log_type = SYSLOG mail
}}
includedir {folder}
"""


def start_both(installation: ManagedInstallation, *words: str, **settings: object) -> None:
    """The MTA from its init script, and xinetd with its service."""
    demand("xinetd", "start-stop-daemon", "swaks")
    installation.generate("init", pidfile=installation.folder / "qmail.pid")
    installation.run(installation.folder / "init/qmail", "start")
    installation.generate("xinetd", *words, port=installation.port, **settings)
    configuration = installation.folder / "xinetd.conf"
    configuration.write_text(CONFIGURATION.format(folder=installation.folder / "xinetd"))
    xinetd = installation.start(
        "xinetd", "-dontfork", "-f", configuration, "-pidfile", installation.folder / "xinetd.pid"
    )
    until((installation.folder / "xinetd.pid").exists, f"xinetd{installation.logs()}")
    assert xinetd.poll() is None, installation.logs()


def stop_both(installation: ManagedInstallation) -> None:
    pid = (installation.folder / "xinetd.pid").read_text().strip()
    installation.run("kill", "-TERM", pid)
    installation.run(installation.folder / "init/qmail", "stop")
    installation.demand_silence()


def test_xinetd_serves_smtp(installation: ManagedInstallation) -> None:
    start_both(installation, address="127.0.0.1")
    installation.demand_greeting()
    text = installation.demand_delivery()
    # tcp-env has passed the address of the client to the server.
    assert "client.example.net" in text
    assert "127.0.0.1" in text
    stop_both(installation)


def test_an_unknown_client_may_not_relay_and_a_trusted_client_may(installation: ManagedInstallation) -> None:
    start_both(installation, address="127.0.0.1")
    installation.demand_greeting()
    with smtplib.SMTP("127.0.0.1", installation.port, "client.example.net", timeout=60) as client:
        client.ehlo()
        client.mail("a@b.example")
        assert client.rcpt("c@elsewhere.example")[0] == 553
    installation.generate("xinetd", port=installation.port, address="127.0.0.1", only_from="127.0.0.1", relay="yes")
    installation.run("kill", "-HUP", (installation.folder / "xinetd.pid").read_text().strip())

    def may_relay() -> bool:
        try:
            with smtplib.SMTP("127.0.0.1", installation.port, "client.example.net", timeout=60) as client:
                client.ehlo()
                client.mail("a@b.example")
                return client.rcpt("c@elsewhere.example")[0] == 250
        except (OSError, smtplib.SMTPException):
            return False

    until(may_relay, f"relaying for the trusted{installation.logs()}")
    stop_both(installation)


def test_xinetd_serves_both_families_from_one_service(installation: ManagedInstallation) -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    start_both(installation, ipv6="yes")
    installation.demand_greeting()
    assert "127.0.0.1" in installation.demand_delivery()
    with socket.create_connection(("::1", installation.port), 10) as sock:
        sock.settimeout(60)
        assert sock.recv(100).startswith(b"220 ")
    stop_both(installation)


def test_the_server_has_descriptor_3_to_itself_and_its_log_is_no_part_of_the_dialogue(
    installation: ManagedInstallation,
) -> None:
    """A checkpassword program gets its credentials on 3; the server's output on 2 never reaches the client."""
    spy = installation.folder / "spy"
    spy.write_text(f'#!/bin/sh\nls -l /proc/self/fd >"{installation.folder}/seen/fds"\necho noise >&2\nexec true\n')
    spy.chmod(0o755)
    (installation.folder / "seen").mkdir()
    (installation.folder / "seen").chmod(0o777)
    start_both(installation, address="127.0.0.1")
    script = installation.home / "boot/qmail-xinetd"
    script.write_text(script.read_text().replace(f"{installation.home}/bin/qmail-smtpd", str(spy)))
    try:
        with socket.create_connection(("127.0.0.1", installation.port), 10) as sock:
            sock.settimeout(60)
            assert sock.recv(100) == b""
        fds = (installation.folder / "seen/fds").read_text()
    finally:
        script.unlink()
    kinds = {line.split()[-3]: line.split()[-1] for line in fds.splitlines() if "->" in line}
    assert kinds["0"].startswith("socket:")
    assert kinds["2"].startswith("pipe:")
    assert "socket" not in kinds.get("3", "")
    stop_both(installation)
