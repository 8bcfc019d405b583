"""tcpserver with IPv6 below a supervisor: Debian's variant, and qmail-tcpsrv in its place, with rules for clients."""

import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.foreign_servers import unpacked
from tests.support.mail_system import until
from tests.support.service_managers import RECIPIENT, Town, demand
from tests.system.service_managers.test_supervisors import SUPERVISORS

pytestmark = pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")

# The first is for one address; the last one refuses whoever has none of his own.
RULES = '::1:allow,RELAYCLIENT="",DATABYTES="7777"\n127.0.0.1:allow,DATABYTES="8888"\n:deny\n'


def programs(town: Town) -> dict[str, Path]:
    # Debian's cannot be installed beside ucspi-tcp, but unpacked.
    return {"debian": unpacked("ucspi-tcp-ipv6") / "usr/bin/tcpserver", "ours": town.home / "bin/qmail-tcpsrv"}


def sizes_told_to(town: Town, host: str, source: str) -> list[str]:
    """The SIZE that a client from this address is told, and whether it may relay."""
    with socket.create_connection((host, town.port), 30, (source, 0)) as sock:
        sock.settimeout(60)
        sock.sendall(b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@elsewhere.example>\r\nQUIT\r\n")
        said = b""
        while piece := sock.recv(1000):
            said += piece
    lines = said.decode().split("\r\n")
    return [line for line in lines if "SIZE" in line or line.startswith("553")] or lines


@pytest.mark.parametrize("name", ["debian", "ours"])
def test_clients_of_both_families_come_and_have_their_rules(name: str, town: Town) -> None:
    supervisor = SUPERVISORS["runit"]
    demand(*supervisor.needs, "swaks", "curl")
    rules, logs = town.folder / "rules.cdb", town.folder / "log"
    command = [town.home / "bin/tcprules", rules, f"{rules}.tmp"]
    assert subprocess.run(command, input=RULES, text=True, check=True).returncode == 0
    rules.chmod(0o644)
    settings = {
        "tcpserver": f"{programs(town)[name]} -H",
        "ipv6": "yes",
        "port": town.port,
        "rules": rules,
        "memory": 0,
    }
    town.generate("runit", logdir=logs, **settings)
    scanned = town.folder / "scan"
    scanned.mkdir()
    for service in ("qmail-send", "qmail-smtpd"):
        (scanned / service).symlink_to(town.folder / "runit" / service)
    manager = town.start(*supervisor.scan(str(scanned)))
    town.demand_services()
    town.demand_greeting()
    assert "127.0.0.1" in town.demand_delivery()
    message = town.folder / "message"
    message.write_text("Subject: by IPv6\r\n\r\ntext\r\n")
    curl = ("curl", "--silent", "--show-error", "--max-time", "60", "--mail-from", "a@b.example")
    town.run(*curl, "--mail-rcpt", RECIPIENT, "--upload-file", message, f"smtp://[::1]:{town.port}/six.example.net")
    until(lambda: _by_ipv6(town), f"a message by IPv6{town.logs()}")
    assert "(HELO six.example.net) (::1)" in _by_ipv6(town)[-1]
    assert sizes_told_to(town, "::1", "::1") == ["250-SIZE 7777"]
    four = sizes_told_to(town, "127.0.0.1", "127.0.0.1")
    assert four[0] == "250-SIZE 8888"
    assert four[1].startswith("553")
    with socket.create_connection(("127.0.0.2", town.port), 30, ("127.0.0.2", 0)) as sock:
        sock.settimeout(60)
        try:
            assert sock.recv(100) == b""
        except ConnectionResetError:
            pass
    manager.kill()
    manager.wait()
    for service in ("qmail-smtpd", "qmail-send"):
        town.run(*supervisor.finish(str(scanned / service)))
    town.demand_silence()


def _by_ipv6(town: Town) -> list[str]:
    return [text for text in town.inbox() if "Subject: by IPv6\n" in text]
