"""tcpserver with IPv6 below a supervisor: Debian's variant, and qmail-tcpsrv in its place, with rules for clients."""

import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.foreign_servers import unpacked
from tests.support.mail_system import until
from tests.support.service_managers import RECIPIENT, ManagedInstallation, demand
from tests.system.service_managers.test_supervisors import SUPERVISORS

pytestmark = pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")

# The first is for one address; the last one refuses every other client.
RULES = '::1:allow,RELAYCLIENT="",DATABYTES="7777"\n127.0.0.1:allow,DATABYTES="8888"\n:deny\n'


def programs(installation: ManagedInstallation) -> dict[str, Path]:
    # Debian's cannot be installed beside ucspi-tcp, but unpacked.
    return {"debian": unpacked("ucspi-tcp-ipv6") / "usr/bin/tcpserver", "ours": installation.home / "bin/qmail-tcpsrv"}


def sizes_seen_by(installation: ManagedInstallation, host: str, source: str) -> list[str]:
    """The SIZE offered to a client from this address, and whether it may relay."""
    with socket.create_connection((host, installation.port), 30, (source, 0)) as sock:
        sock.settimeout(60)
        sock.sendall(b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@elsewhere.example>\r\nQUIT\r\n")
        output = b""
        while piece := sock.recv(1000):
            output += piece
    lines = output.decode().split("\r\n")
    return [line for line in lines if "SIZE" in line or line.startswith("553")] or lines


@pytest.mark.parametrize("name", ["debian", "ours"])
def test_clients_of_both_families_connect_and_get_their_rules(name: str, installation: ManagedInstallation) -> None:
    supervisor = SUPERVISORS["runit"]
    demand(*supervisor.needs, "swaks", "curl")
    rules, logs = installation.folder / "rules.cdb", installation.folder / "log"
    command = [installation.home / "bin/tcprules", rules, f"{rules}.tmp"]
    assert subprocess.run(command, input=RULES, text=True, check=True).returncode == 0
    rules.chmod(0o644)
    settings = {
        "tcpserver": f"{programs(installation)[name]} -H",
        "ipv6": "yes",
        "port": installation.port,
        "rules": rules,
        "memory": 0,
    }
    installation.generate("runit", logdir=logs, **settings)
    scanned = installation.folder / "scan"
    scanned.mkdir()
    for service in ("qmail-send", "qmail-smtpd"):
        (scanned / service).symlink_to(installation.folder / "runit" / service)
    manager = installation.start(*supervisor.scan(str(scanned)))
    installation.demand_services()
    installation.demand_greeting()
    assert "127.0.0.1" in installation.demand_delivery()
    message = installation.folder / "message"
    message.write_text("Subject: by IPv6\r\n\r\ntext\r\n")
    curl = ("curl", "--silent", "--show-error", "--max-time", "60", "--mail-from", "a@b.example")
    installation.run(
        *curl, "--mail-rcpt", RECIPIENT, "--upload-file", message, f"smtp://[::1]:{installation.port}/six.example.net"
    )
    until(lambda: _by_ipv6(installation), f"a message by IPv6{installation.logs()}")
    assert "(HELO six.example.net) (::1)" in _by_ipv6(installation)[-1]
    assert sizes_seen_by(installation, "::1", "::1") == ["250-SIZE 7777"]
    four = sizes_seen_by(installation, "127.0.0.1", "127.0.0.1")
    assert four[0] == "250-SIZE 8888"
    assert four[1].startswith("553")
    with socket.create_connection(("127.0.0.2", installation.port), 30, ("127.0.0.2", 0)) as sock:
        sock.settimeout(60)
        try:
            assert sock.recv(100) == b""
        except ConnectionResetError:
            pass
    manager.kill()
    manager.wait()
    for service in ("qmail-smtpd", "qmail-send"):
        installation.run(*supervisor.finish(str(scanned / service)))
    installation.demand_silence()


def _by_ipv6(installation: ManagedInstallation) -> list[str]:
    return [text for text in installation.inbox() if "Subject: by IPv6\n" in text]
