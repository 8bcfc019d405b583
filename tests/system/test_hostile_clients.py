"""Clients that disconnect, never end, or never read: they leave nothing and delay no other client."""

import base64
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import eqmail
from tests.integration.smtpd.test_tls import AUTHORITY, put_certificate
from tests.support.mail_system import MailSystem, make_maildir, messages, until

pytestmark = pytest.mark.slow
ME = "mail.example.org"

HELLO = b"EHLO client.test\r\n"
ENVELOPE = b"MAIL FROM:<>\r\nRCPT TO:<box@mail.example.org>\r\n"
TEXT = b"Subject: whole\r\n\r\none\r\n..\r\n"
PASSWORD = base64.b64encode(b"\0joe\0secret")
PLUGIN_OUTPUTS = {
    "DATA": HELLO + ENVELOPE + b"DATA\r\n" + TEXT + b".\r\n",
    "BDAT": HELLO + ENVELOPE + b"BDAT 10\r\n" + TEXT[:10] + b"BDAT %d LAST\r\n" % len(TEXT[10:]) + TEXT[10:],
    "AUTH": HELLO + b"AUTH PLAIN\r\n" + PASSWORD + b"\r\n" + ENVELOPE + b"DATA\r\n" + TEXT + b".\r\n",
}
LONG = b"x" * 997 + b"\r\n"


class HostileMailSystem(MailSystem):
    """A mail system that accepts everything and reports what is left of a client."""

    def __init__(self, home: Path) -> None:
        make_maildir(home / "alias/Maildir")
        (home / "alias/.qmail-box").write_text("./Maildir/\n")
        (home / "checker").write_text("#!/bin/sh\nexit 0\n")
        (home / "checker").chmod(0o755)
        put_certificate(home / "control/servercert.pem", ME, "127.0.0.1")
        for name, text in {
            "smtpcheckpw": f"{home}/checker",
            "chunking": "1",
            "smtpconcurrency": "2000",
            "smtplimits": "c",
        }.items():
            (home / "control" / name).write_text(text + "\n")
        super().__init__(home, TLSREQUIRED="0")

    def process_of(self, name: str) -> int:
        (pid,) = [pid for pid, found in self.services().items() if found == name]
        return pid

    def delivered(self) -> int:
        """How many messages have arrived."""
        return len(messages(self.home / "alias/Maildir"))

    def descriptors(self) -> dict[str, int]:
        """The number of open descriptors of the services that serve clients."""
        return {name: len(os.listdir(f"/proc/{self.process_of(name)}/fd")) for name in ("qmail-smtpd", "qmail-clean")}

    def queue_files(self) -> list[str]:
        """Every file of the queue but the fixed ones and the pool of numbers, which are empty files in pid/."""
        queue = self.home / "queue"
        found = [path for path in queue.rglob("*") if path.is_file()]
        found = [path for path in found if path.relative_to(queue).parts[0] not in ("lock", "journal")]
        return [str(path) for path in found if path.parent.name != "pid" or path.stat().st_size]

    def connect(self) -> socket.socket:
        """A client that has been greeted."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert client.recv(200).startswith(b"220 ")
        return client

    def is_as_before(self, descriptors: dict[str, int]) -> None:
        """Nothing is left of any client, and the services are still the same processes."""
        until(lambda: self.descriptors() == descriptors, f"{descriptors}, not {self.descriptors()}")
        until(lambda: not self.queue_files(), f"no file in the queue: {self.queue_files()}")
        log = self.log()
        assert not [line for line in log.splitlines() if "fatal" in line or "alert" in line or "Traceback" in line]


def hang_up(client: socket.socket, rudely: bool) -> None:
    """Go, with a reset or with an end."""
    if rudely:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.fixture(scope="module")
def mail_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileMailSystem]:
    home = tmp_path_factory.mktemp("hostile") / "home"
    assert eqmail("--home", home, "setup", "--single-user").returncode == 0
    assert eqmail("--home", home, "config-fast", ME).returncode == 0
    mail_system = HostileMailSystem(home)
    mail_system.send([f"box@{ME}"], "Subject: first\n\n")
    until(mail_system.delivered, "the first message")
    yield mail_system
    mail_system.stop()
    assert not mail_system.queue_files() and not list((home / "queue/pid").rglob("*/*"))


@pytest.fixture
def before(mail_system: HostileMailSystem) -> Iterator[dict[str, int]]:
    """The descriptors of the services without clients; afterwards they are the same."""
    descriptors = mail_system.descriptors()
    until(lambda: mail_system.delivered() and not mail_system.queue_files(), "rest")
    yield descriptors
    mail_system.is_as_before(descriptors)


@pytest.mark.parametrize("name", PLUGIN_OUTPUTS)
def test_a_client_that_disconnects_after_any_byte_leaves_nothing(
    name: str, mail_system: HostileMailSystem, before: dict[str, int]
) -> None:
    client_data, arrived = PLUGIN_OUTPUTS[name], mail_system.delivered()
    for cut in range(len(client_data)):
        client = mail_system.connect()
        client.sendall(client_data[:cut])
        hang_up(client, cut % 2 == 1)
    with mail_system.connect() as client:
        client.sendall(client_data + b"QUIT\r\n")
        while client.recv(4096):
            pass
    until(lambda: mail_system.delivered() > arrived, "the whole one")
    mail_system.is_as_before(before)
    assert mail_system.delivered() == arrived + 1


def test_a_client_that_disconnects_after_any_byte_under_tls_leaves_nothing(
    mail_system: HostileMailSystem, before: dict[str, int]
) -> None:
    """Cut anywhere in what goes over the wire: words before TLS, its handshake, and what it carries."""
    arrived, cut = mail_system.delivered(), 0
    while not speak_tls(mail_system, cut):
        cut += 5
    assert cut > 500
    until(lambda: mail_system.delivered() > arrived, "the whole one")
    mail_system.is_as_before(before)
    assert mail_system.delivered() == arrived + 1


def speak_tls(mail_system: HostileMailSystem, allowed: int) -> bool:
    """Send a message with STARTTLS, but go after so many bytes on the wire; True if it was sent as a whole."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    client, rudely = mail_system.connect(), allowed % 2 == 1

    def send(data: bytes) -> None:
        nonlocal allowed
        client.sendall(data[:allowed])
        allowed -= len(data)
        if allowed < 0:
            raise EOFError

    def step(action: Callable[[], object]) -> object:
        while True:
            try:
                return action()
            except ssl.SSLWantReadError:
                send(outgoing.read())
                incoming.write(client.recv(65536))

    try:
        send(HELLO + b"STARTTLS\r\n")
        output = b""
        while b"220 ready for tls\r\n" not in output:
            output += client.recv(4096)
        step(tls.do_handshake)
        tls.write(PLUGIN_OUTPUTS["DATA"] + b"QUIT\r\n")
        send(outgoing.read())
        while step(lambda: tls.read(4096)):
            pass
    except EOFError:
        hang_up(client, rudely)
        return False
    except ssl.SSLError:
        pass
    client.close()
    return True


@pytest.mark.parametrize("way", ["DATA", "BDAT"])
def test_half_of_a_long_message_leaves_nothing(
    way: str, mail_system: HostileMailSystem, before: dict[str, int]
) -> None:
    arrived = mail_system.delivered()
    for count in (60, 65, 66, 67, 100, 300, 1200, 3000):
        client = mail_system.connect()
        body = LONG * count
        client.sendall(HELLO + ENVELOPE + (b"DATA\r\n" if way == "DATA" else b"BDAT %d LAST\r\n" % (len(body) + 1)))
        client.sendall(body)
        hang_up(client, count % 2 == 1)
    mail_system.is_as_before(before)
    assert mail_system.delivered() == arrived


def test_a_client_that_leaves_the_program_leaves_nothing(
    mail_system: HostileMailSystem, before: dict[str, int]
) -> None:
    """qmail-smtpd as tcpserver runs it."""
    arrived, client_data = mail_system.delivered(), PLUGIN_OUTPUTS["DATA"]
    environ = {"PATH": os.environ["PATH"], "TCPREMOTEIP": "127.0.0.1", "TCPLOCALPORT": "25"}
    for cut in [*range(0, len(client_data), 16), len(client_data) - 1]:
        ours, theirs = socket.socketpair()
        with theirs:
            program = subprocess.Popen(
                [mail_system.home / "bin/qmail-smtpd"],
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.DEVNULL,
                env=environ,
            )
        ours.sendall(client_data[:cut])
        ours.close()
        assert program.wait(60) in (0, 1)
    mail_system.is_as_before(before)
    assert mail_system.delivered() == arrived


SENT_BYTES = 16 << 20
KEPT_KIB = 12 << 10
FLOODS = {
    "line": (b"", b"x" * 65536),
    "recipient": (b"MAIL FROM:<>\r\nRCPT TO:<", b"x" * 65536),
    "header": (ENVELOPE + b"DATA\r\nSubject: ", b"x" * 65536),
    "header of many lines": (ENVELOPE + b"DATA\r\n", b"X: y\r\n" * 10000),
    "AUTH response": (b"AUTH PLAIN\r\n", b"QUJD" * 16384),
    "AUTH exchanges": (b"", b"AUTH LOGIN\r\nQUJD\r\n*\r\n" * 1000),
    "NOOP": (b"", b"NOOP\r\n" * 10000),
    "unknown commands": (b"", b"XYZZY\r\n" * 10000),
    "refused recipients": (b"MAIL FROM:<>\r\n", b"RCPT TO:<a@elsewhere.test>\r\n" * 2000),
    "refused chunk": (b"BDAT 999999999999 LAST\r\n", b"x" * 65536),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_client_without_end_occupies_little(
    name: str, mail_system: HostileMailSystem, before: dict[str, int]
) -> None:
    """It reads no replies either."""
    first, more = FLOODS[name]
    pid = mail_system.process_of("qmail-smtpd")
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    start = peak_kib(pid)
    client = mail_system.connect()
    client.settimeout(5)
    sent = client.send(HELLO + first)
    try:
        while sent < SENT_BYTES:
            sent += client.send(more)
    except TimeoutError:
        assert name in ("NOOP", "AUTH exchanges", "unknown commands", "refused recipients"), f"not read beyond {sent}"
    grown = peak_kib(pid) - start
    hang_up(client, True)
    assert grown < KEPT_KIB, f"{grown} KiB for {sent >> 10} KiB"


def peak_kib(pid: int) -> int:
    return next(
        int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in line
    )


def test_many_hostile_clients_delay_no_other(mail_system: HostileMailSystem, before: dict[str, int]) -> None:
    """500 silent clients and 200 that send a byte from time to time."""
    arrived = mail_system.delivered()
    idle = [mail_system.connect() for _ in range(500)]
    dribbling = [mail_system.connect() for _ in range(200)]
    for number in range(10):
        for client in dribbling:
            client.sendall(PLUGIN_OUTPUTS["DATA"][number : number + 1])
        mail_system.send([f"box@{ME}"], f"Subject: {number}\n\nhello\n")
    until(lambda: mail_system.delivered() == arrived + 10, "all messages")
    for client in idle + dribbling:
        hang_up(client, False)
