"""qmail-tcpsrv at work: connections, rules, limits and its end."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.programs import Home

TELL = ("/bin/sh", "-c", "env; cat")


class Server:
    """A running qmail-tcpsrv on a free port of 127.0.0.1."""

    def __init__(self, home: Home, *words: str) -> None:
        self._log = home.path / f"log{len(list(home.path.glob('log*')))}"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [home.install("qmail_tcpsrv"), "-1v", "-l0", *words],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=home.path,
                env={"PATH": "/usr/bin:/bin", "TCPREMOTEINFO": "somebody", "KEPT": "1"},
            )
        assert self.process.stdout is not None
        with self.process.stdout as reported:
            port = reported.readline()
        if not port:
            self.process.wait()
        assert port, self.log()
        self.port = int(port)

    def log(self) -> str:
        """The log so far, without the program name."""
        return self._log.read_text().replace("qmail-tcpsrv: ", "")

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """A client at this address of the loopback."""
        return socket.create_connection(("127.0.0.1", self.port), 10, (source, 0))

    def reported(self, source: str = "127.0.0.1") -> dict[str, str]:
        """The environment that the program has for a client; empty when it does not run."""
        with self.connect(source) as client:
            client.shutdown(socket.SHUT_WR)
            text = client.makefile().read()
        return dict(line.split("=", 1) for line in text.splitlines())

    def until(self, words: str) -> None:
        """Wait for these words in the log."""
        deadline = time.monotonic() + 60
        while words not in self.log():
            assert time.monotonic() < deadline, f"{words!r} not in:\n{self.log()}"
            time.sleep(0.01)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    home, servers = Home(tmp_path), list[Server]()

    def start(*words: str) -> Server:
        servers.append(Server(home, *words))
        return servers[-1]

    yield start
    for server in servers:
        server.process.terminate()
        assert server.process.wait(60) == 0, server.log()


def rules(folder: Path, text: str) -> None:
    done = Home(folder / "compiler").run("tcprules", f"{folder}/r.cdb", f"{folder}/r.tmp", stdin=text.encode())
    assert done.returncode == 0, done.stderr


def test_the_program_gets_both_addresses_and_no_unknown_names(serve: Callable[..., Server]) -> None:
    server = serve("-H", "127.0.0.1", "0", *TELL)
    reported = server.reported()
    assert reported.pop("TCPREMOTEPORT").isdigit()
    assert {name: value for name, value in reported.items() if name.startswith(("TCP", "PROTO", "KEPT"))} == {
        "PROTO": "TCP",
        "TCPLOCALIP": "127.0.0.1",
        "TCPLOCALPORT": str(server.port),
        "TCPLOCALHOST": "0",
        "TCPREMOTEIP": "127.0.0.1",
        "KEPT": "1",
    }


def test_a_socket_for_every_address_shows_ipv4_clients_as_such(serve: Callable[..., Server]) -> None:
    assert serve("-H", "0", "0", *TELL).reported()["TCPREMOTEIP"] == "127.0.0.1"


def test_each_connection_leaves_its_lines(serve: Callable[..., Server]) -> None:
    server = serve("-H", "127.0.0.1", "0", "/bin/sh", "-c", "exit 3")
    with server.connect() as client:
        port = client.getsockname()[1]
        assert client.recv(1) == b""
    server.until("end ")
    # The lines of a child come before or after the status of its parent.
    server.until("status: 1/40")
    lines = server.log().splitlines()
    pid = next(line for line in lines if line.startswith("pid ")).split()[1]
    assert f"pid {pid} from 127.0.0.1" in lines
    assert f"ok {pid} 0:127.0.0.1:{server.port} :127.0.0.1::{port}" in lines
    assert f"end {pid} status 768" in lines
    assert lines[0] == "status: 0/40"


def test_rules_refuse_and_set_variables(serve: Callable[..., Server], tmp_path: Path) -> None:
    rules(tmp_path, '127.0.0.2:deny\n127.0.0.3:allow,RELAYCLIENT="@x"\n:allow\n')
    server = serve("-H", "-x", "r.cdb", "127.0.0.1", "0", *TELL)
    assert server.reported("127.0.0.2") == {}
    assert server.reported("127.0.0.3")["RELAYCLIENT"] == "@x"
    assert "RELAYCLIENT" not in server.reported()
    server.until(" status 25600")
    assert "\ndeny " in server.log()


def test_without_readable_rules_no_client_is_served(serve: Callable[..., Server], tmp_path: Path) -> None:
    assert serve("-H", "-x", "none.cdb", "127.0.0.1", "0", *TELL).reported() == {}
    assert serve("-HX", "-x", "none.cdb", "127.0.0.1", "0", *TELL).reported() != {}
    (tmp_path / "bad.cdb").write_bytes(b"no database")
    server = serve("-HX", "-x", "bad.cdb", "127.0.0.1", "0", *TELL)
    assert server.reported() == {}
    server.until("warning: dropping connection, unable to read bad.cdb: ")


def test_no_more_programs_run_at_once_than_the_limit_allows(serve: Callable[..., Server]) -> None:
    server = serve("-H", "-c", "2", "-B", "hi\n", "127.0.0.1", "0", "cat")
    clients = [server.connect() for _ in range(3)]
    try:
        assert [client.recv(3) for client in clients[:2]] == [b"hi\n", b"hi\n"]
        clients[2].settimeout(0.2)
        with pytest.raises(TimeoutError):
            clients[2].recv(3)
        clients[0].close()
        clients[2].settimeout(60)
        assert clients[2].recv(3) == b"hi\n"
        assert "3/2" not in server.log()
    finally:
        for client in clients:
            client.close()


def test_term_ends_the_server_and_not_its_programs(serve: Callable[..., Server]) -> None:
    server = serve("-H", "127.0.0.1", "0", "cat")
    with server.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        client.sendall(b"y")
        assert client.recv(1) == b"y"


def test_a_missing_program_is_reported(serve: Callable[..., Server]) -> None:
    server = serve("-H", "127.0.0.1", "0", "./none")
    assert server.reported() == {}
    server.until("fatal: unable to run ./none: file does not exist")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("127.0.0.1", "25"), 100, b"usage: "),
        (("-6", "127.0.0.1", "25", "x"), 100, b"qmail-tcpsrv: illegal option -- 6\nusage: "),
        (("127.0.0.1", "no-such-port", "x"), 111, b"fatal: unable to figure out port number for no-such-port"),
        (("192.0.2.1", "0", "x"), 111, b"fatal: unable to bind: "),
    ],
)
def test_a_failed_start_is_explained(tmp_path: Path, words: tuple[str, ...], code: int, text: bytes) -> None:
    done = Home(tmp_path).run("qmail_tcpsrv", *words)
    assert done.returncode == code
    assert text in done.stderr
