"""Real xinetd and real tcpserver start qmail-smtpd, which hands its clients over to the resident service, or not."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.smtpd.test_tls import put_certificate
from tests.support.mail_system import until
from tests.support.service_managers import Town, demand
from tests.system.service_managers.test_xinetd import start_both, stop_both


@pytest.fixture
def switched_on(town: Town) -> Iterator[Town]:
    """The service takes clients over."""
    setting = town.home / "control/smtphandover"
    setting.write_text("1\n")
    yield town
    setting.unlink()


def start_tcpserver(town: Town, *words: str) -> "subprocess.Popen[bytes]":
    """The MTA from its init script, and a server as a page would have it."""
    demand("tcpserver", "start-stop-daemon", "swaks")
    town.generate("init", pidfile=town.folder / "qmail.pid")
    town.run(town.folder / "init/qmail", "start")
    words = ("-HRl0", *words, "127.0.0.1", str(town.port), f"{town.home}/bin/qmail-smtpd")
    return town.start("setpriv", "--reuid=qmaild", "--regid=nofiles", "--clear-groups", "tcpserver", *words)


def stop_tcpserver(town: Town, server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    server.wait(60)
    town.run(town.folder / "init/qmail", "stop")
    town.demand_silence()


def sessions_of(town: Town) -> int:
    """The connections with clients that the resident service holds."""
    (smtpd,) = [pid for pid in town.processes() if Path(f"/proc/{pid}/comm").read_text() == "eq-smtpd\n"]
    held = {os.readlink(f"/proc/{smtpd}/fd/{fd}") for fd in os.listdir(f"/proc/{smtpd}/fd")}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {f"socket:[{fields[9]}]" for fields in lines if int(fields[1].split(":")[1], 16) == town.port}
    return len(held & ours)


def greeted(town: Town) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", town.port), 30)
    assert sock.recv(200).startswith(b"220 mail.example.org")
    return sock


def end_of(sock: socket.socket) -> bytes:
    """What comes until the connection is closed or cut."""
    try:
        return sock.recv(200)
    except ConnectionResetError:
        return b""


def test_tcpserver_counts_clients_that_were_handed_over(switched_on: Town) -> None:
    town = switched_on
    server = start_tcpserver(town, "-c", "2")
    town.demand_greeting()
    assert "127.0.0.1" in town.demand_delivery()
    with greeted(town), greeted(town) as second:
        assert sessions_of(town) == 2
        with socket.create_connection(("127.0.0.1", town.port), 30) as third:
            third.settimeout(1)
            with pytest.raises(TimeoutError):
                third.recv(200)
            second.sendall(b"QUIT\r\n")
            third.settimeout(60)
            assert third.recv(200).startswith(b"220 ")
    stop_tcpserver(town, server)


def test_a_service_that_dies_is_replaced_and_its_programs_end(switched_on: Town) -> None:
    town = switched_on
    server = start_tcpserver(town)
    town.demand_greeting()
    with greeted(town) as client:
        (smtpd,) = [pid for pid in town.processes() if Path(f"/proc/{pid}/comm").read_text() == "eq-smtpd\n"]
        os.kill(smtpd, signal.SIGKILL)
        assert end_of(client) == b""
    town.demand_greeting()
    town.demand_delivery()
    stop_tcpserver(town, server)


def test_without_the_service_each_program_serves_its_client(town: Town) -> None:
    server = start_tcpserver(town)
    town.demand_greeting()
    assert "eq-smtpd" not in town.accounts()
    town.demand_delivery()
    with greeted(town):
        assert town.accounts()["qmail-smtpd"] == "qmaild"
    stop_tcpserver(town, server)


def test_another_account_is_not_let_in_and_serves_its_client_itself(switched_on: Town) -> None:
    """Nobody else reaches the socket; root does, and is refused."""
    town = switched_on
    town.generate("init", pidfile=town.folder / "qmail.pid")
    town.run(town.folder / "init/qmail", "start")
    status = os.stat(town.home / "run/smtp.sock")
    assert (Path(town.home / "run/smtp.sock").owner(), status.st_mode & 0o777) == ("qmaild", 0o600)
    for uid, is_taken in ((0, False), (65534, False), (Path(town.home / "run/smtp.sock").stat().st_uid, True)):
        with socket.create_server(("127.0.0.1", town.port)) as listener:
            client = socket.create_connection(("127.0.0.1", town.port), 30)
            theirs, _ = listener.accept()
        with client, theirs:
            program = subprocess.Popen(
                [town.home / "bin/qmail-smtpd"], stdin=theirs, stdout=theirs, user=uid, group=65534, extra_groups=[]
            )
            theirs.close()
            assert client.recv(200).startswith(b"220 ")
            assert sessions_of(town) == is_taken
            client.sendall(b"QUIT\r\n")
            assert client.recv(200).startswith(b"221 ")
            assert program.wait(60) == 0
    town.run(town.folder / "init/qmail", "stop")
    town.demand_silence()


def test_xinetd_hands_over_with_tls_and_the_log_of_the_program(switched_on: Town) -> None:
    town = switched_on
    certificate = town.home / "control/servercert.pem"
    put_certificate(certificate, "mail.example.org")
    os.chmod(certificate, 0o644)
    log = town.folder / "seen"
    log.mkdir()
    log.chmod(0o777)
    splogger = town.home / "bin/splogger"
    original = splogger.read_bytes()
    splogger.write_text(f'#!/bin/sh\necho started >>"{log}/$1.starts"\nexec cat >>"{log}/$1"\n')
    try:
        start_both(town, address="127.0.0.1")
        town.demand_greeting()
        with greeted(town):
            assert sessions_of(town) == 1
        assert "client.example.net" in town.demand_delivery()
        server = (
            "swaks",
            "--server",
            f"127.0.0.1:{town.port}",
            "--from",
            "a@b.example",
            "--to",
            "ann@mail.example.org",
        )
        assert "~> QUIT" in town.run(*server, "--tls", "--helo", "client.example.net")
        until(lambda: any("with ESMTPS (" in text for text in town.inbox()), "the message under TLS")
        accepted = "qmail-smtpd: message accepted: a@b.example from 127.0.0.1 to ann@mail.example.org"
        until(lambda: accepted in (log / "xinetd-smtpd").read_text(), "a line in the log of the program")
        starts = (log / "xinetd-smtpd.starts").read_text()
        for _ in range(3):
            with greeted(town) as client:
                client.sendall(b"QUIT\r\n")
                assert client.recv(200).startswith(b"221 ")
                assert end_of(client) == b""
        with greeted(town):
            pass
        one_more = starts + "started\n"
        until(
            lambda: (log / "xinetd-smtpd.starts").read_text() >= one_more,
            "the line about a client that went without a word",
        )
        assert (log / "xinetd-smtpd.starts").read_text() == one_more, "a splogger that had nothing to log"
        stop_both(town)
    finally:
        splogger.write_bytes(original)
        certificate.unlink()


def test_a_service_file_can_keep_its_programs_from_it(switched_on: Town) -> None:
    town = switched_on
    start_both(town, address="127.0.0.1", handover="no")
    town.demand_greeting()
    with greeted(town):
        assert sessions_of(town) == 0
    town.demand_delivery()
    stop_both(town)
