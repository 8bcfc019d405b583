"""The servers beside SMTP, below supervisors and xinetd: mail comes in by QMTP, and is fetched by POP3."""

import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import eqmail
from tests.support.mail_system import free_port, until
from tests.support.service_managers import RECIPIENT, ManagedInstallation, demand
from tests.system.service_managers.test_supervisors import SUPERVISORS, demand_logs, end
from tests.system.service_managers.test_xinetd import start_both, stop_both

SERVICES = ("qmtp", "pop3")
CURL = ("curl", "--silent", "--show-error", "--max-time", "60", "--ssl-reqd", "--insecure", "--user")


class Ports:
    """The ports of the two servers, and the settings of their service files; ann has a password."""

    def __init__(self, installation: ManagedInstallation) -> None:
        self.qmtp, self.pop3 = free_port(), free_port()
        give_password(installation)
        self.words = [word for service in SERVICES for word in ("--service", service)]
        self.settings: dict[str, object] = {
            "address": "127.0.0.1",
            "qmtp.port": self.qmtp,
            "pop3.port": self.pop3,
        }


def give_password(installation: ManagedInstallation) -> None:
    """Give ann a password, in clear text for APOP, and the host a certificate, without which none is taken."""
    secret = installation.folder / "secret"
    secret.write_text("secret\n")
    for words, source in (("auth set ann --scheme clear --stdin", secret), ("cert make --replace --yes", None)):
        with open(source or "/dev/null") as file:
            done = eqmail("--home", installation.home, *words.split(" "), stdin=file)
        assert done.returncode == 0, done.stderr


def netstring(text: bytes) -> bytes:
    return b"%d:%b," % (len(text), text)


def send_by_qmtp(port: int, mark: str) -> str:
    """Send one message; the reply to its recipient."""
    message = b"\nFrom: bob@example.net\nSubject: " + mark.encode() + b"\n\ntext\n"
    packet = netstring(message) + netstring(b"bob@example.net") + netstring(netstring(RECIPIENT.encode()))
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.sendall(packet)
        sock.settimeout(60)
        answer = b""
        while not answer.endswith(b","):
            piece = sock.recv(1000)
            assert piece, answer
            answer += piece
    return answer.partition(b":")[2].decode()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def demand_mail_both_ways(installation: ManagedInstallation, ports: Ports) -> None:
    """A message in by QMTP and out by POP3, with curl; who has the wrong password gets nothing."""
    mark = f"by QMTP at {time.monotonic_ns()}"
    until(lambda: answers(ports.qmtp) and answers(ports.pop3), f"both servers{installation.logs()}", 60)
    assert send_by_qmtp(ports.qmtp, mark).startswith("Kok ")
    until(
        lambda: any(f"Subject: {mark}\n" in text for text in installation.inbox()),
        f"delivery of {mark}{installation.logs()}",
        60,
    )
    demand_in_maildrop(installation, ports.pop3, f"Subject: {mark}")
    installation.run(*CURL, "ann:wrong", f"pop3://127.0.0.1:{ports.pop3}/", code=67)


def demand_in_maildrop(installation: ManagedInstallation, port: int, mark: str) -> None:
    """Fetch all messages that ann has until one has this mark: those of this very second are not shown yet."""
    until(lambda: mark in _fetched(port), f"{mark} by POP3{installation.logs()}", 60)


def _fetched(port: int) -> str:
    """All messages in one session; fewer when the session before this one has not ended yet, and moves them."""
    url = f"pop3://127.0.0.1:{port}/"

    def curl(url: str) -> str:
        return subprocess.run([*CURL, "ann:secret", url], capture_output=True, text=True, check=False).stdout

    numbers = re.findall(r"^(\d+) \d+\r?$", curl(url), re.M)
    return curl(f"{url}[1-{numbers[-1]}]") if numbers else ""


@pytest.mark.parametrize("name", SUPERVISORS)
def test_a_supervisor_keeps_qmtp_and_pop3_running(name: str, installation: ManagedInstallation) -> None:
    supervisor, ports = SUPERVISORS[name], Ports(installation)
    demand(*supervisor.needs, "tcpserver", "curl", "setpriv")
    logs = installation.folder / "log"
    installation.generate(name, "--service", "mta", *ports.words, logdir=logs, **ports.settings)
    services = ("qmail-send", "qmail-qmtpd", "qmail-pop3d")
    assert {path.name for path in (installation.folder / name).iterdir()} == set(services)
    scanned = installation.folder / "scan"
    scanned.mkdir()
    for service in services:
        (scanned / service).symlink_to(installation.folder / name / service)
    manager = installation.start(*supervisor.scan(str(scanned)))
    installation.demand_services()
    demand_mail_both_ways(installation, ports)
    servers = {
        Path(f"/proc/{pid}").owner()
        for pid, line in installation.processes().items()
        if line.startswith("tcpserver ") and f" {ports.qmtp} " in line
    }
    assert servers == {"qmaild"}
    demand_logs(logs, services)
    for service in services[1:]:
        folder = str(scanned / service)
        assert supervisor.running in installation.run(*supervisor.status(folder))
        installation.run(*supervisor.down(folder))
        installation.run(*supervisor.up(folder))
    demand_mail_both_ways(installation, ports)

    end(installation, name, manager, [str(scanned / service) for service in services])
    until(lambda: not answers(ports.qmtp) and not answers(ports.pop3), "an end of both servers")
    installation.demand_silence()


def test_xinetd_serves_qmtp_and_pop3(installation: ManagedInstallation) -> None:
    ports = Ports(installation)
    demand("curl", "setpriv")
    start_both(installation, *ports.words, **ports.settings)
    demand_mail_both_ways(installation, ports)
    stop_both(installation)
    assert not answers(ports.qmtp)
    assert not answers(ports.pop3)
