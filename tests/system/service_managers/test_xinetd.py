"""xinetd runs the SMTP server of the page: tcp-env, then the script that sends its log to syslog."""

import smtplib
import socket
from pathlib import Path

import pytest

from tests.support.mail_system import until
from tests.support.service_managers import Town, demand

CONFIGURATION = """defaults
{{
        log_type = SYSLOG mail
}}
includedir {folder}
"""


def start_both(town: Town, *words: str, **settings: object) -> None:
    """The MTA from its init script, and xinetd with its service."""
    demand("xinetd", "start-stop-daemon", "swaks")
    town.generate("init", pidfile=town.folder / "qmail.pid")
    town.run(town.folder / "init/qmail", "start")
    town.generate("xinetd", *words, port=town.port, **settings)
    configuration = town.folder / "xinetd.conf"
    configuration.write_text(CONFIGURATION.format(folder=town.folder / "xinetd"))
    xinetd = town.start("xinetd", "-dontfork", "-f", configuration, "-pidfile", town.folder / "xinetd.pid")
    until((town.folder / "xinetd.pid").exists, f"xinetd{town.logs()}")
    assert xinetd.poll() is None, town.logs()


def stop_both(town: Town) -> None:
    pid = (town.folder / "xinetd.pid").read_text().strip()
    town.run("kill", "-TERM", pid)
    town.run(town.folder / "init/qmail", "stop")
    town.demand_silence()


def test_xinetd_serves_smtp(town: Town) -> None:
    start_both(town, address="127.0.0.1")
    town.demand_greeting()
    text = town.demand_delivery()
    # tcp-env told the server who the client is.
    assert "client.example.net" in text
    assert "127.0.0.1" in text
    stop_both(town)


def test_a_stranger_may_not_relay_and_a_trusted_client_may(town: Town) -> None:
    start_both(town, address="127.0.0.1")
    town.demand_greeting()
    with smtplib.SMTP("127.0.0.1", town.port, "client.example.net", timeout=60) as client:
        client.ehlo()
        client.mail("a@b.example")
        assert client.rcpt("c@elsewhere.example")[0] == 553
    town.generate("xinetd", port=town.port, address="127.0.0.1", only_from="127.0.0.1", relay="yes")
    town.run("kill", "-HUP", (town.folder / "xinetd.pid").read_text().strip())

    def may_relay() -> bool:
        try:
            with smtplib.SMTP("127.0.0.1", town.port, "client.example.net", timeout=60) as client:
                client.ehlo()
                client.mail("a@b.example")
                return client.rcpt("c@elsewhere.example")[0] == 250
        except (OSError, smtplib.SMTPException):
            return False

    until(may_relay, f"relaying for the trusted{town.logs()}")
    stop_both(town)


def test_xinetd_serves_both_families_from_one_service(town: Town) -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    start_both(town, ipv6="yes")
    town.demand_greeting()
    assert "127.0.0.1" in town.demand_delivery()
    with socket.create_connection(("::1", town.port), 10) as sock:
        sock.settimeout(60)
        assert sock.recv(100).startswith(b"220 ")
    stop_both(town)


def test_the_server_has_descriptor_3_to_itself_and_its_log_is_no_part_of_the_dialogue(town: Town) -> None:
    """A checkpassword program gets its credentials on 3; what the server says on 2 never reaches the client."""
    spy = town.folder / "spy"
    spy.write_text(f'#!/bin/sh\nls -l /proc/self/fd >"{town.folder}/seen/fds"\necho noise >&2\nexec true\n')
    spy.chmod(0o755)
    (town.folder / "seen").mkdir()
    (town.folder / "seen").chmod(0o777)
    start_both(town, address="127.0.0.1")
    script = town.home / "boot/qmail-xinetd"
    script.write_text(script.read_text().replace(f"{town.home}/bin/qmail-smtpd", str(spy)))
    try:
        with socket.create_connection(("127.0.0.1", town.port), 10) as sock:
            sock.settimeout(60)
            assert sock.recv(100) == b""
        fds = (town.folder / "seen/fds").read_text()
    finally:
        script.unlink()
    kinds = {line.split()[-3]: line.split()[-1] for line in fds.splitlines() if "->" in line}
    assert kinds["0"].startswith("socket:")
    assert kinds["2"].startswith("pipe:")
    assert "socket" not in kinds.get("3", "")
    stop_both(town)
