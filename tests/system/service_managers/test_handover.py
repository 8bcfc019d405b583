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
from tests.support.service_managers import ManagedInstallation, demand
from tests.system.service_managers.test_xinetd import start_both, stop_both


@pytest.fixture
def switched_on(installation: ManagedInstallation) -> Iterator[ManagedInstallation]:
    """The service takes clients over."""
    setting = installation.home / "control/smtphandover"
    setting.write_text("1\n")
    yield installation
    setting.unlink()


def start_tcpserver(installation: ManagedInstallation, *words: str) -> "subprocess.Popen[bytes]":
    """The MTA from its init script, and a server as a page would have it."""
    demand("tcpserver", "start-stop-daemon", "swaks")
    installation.generate("init", pidfile=installation.folder / "qmail.pid")
    installation.run(installation.folder / "init/qmail", "start")
    words = ("-HRl0", *words, "127.0.0.1", str(installation.port), f"{installation.home}/bin/qmail-smtpd")
    return installation.start("setpriv", "--reuid=qmaild", "--regid=nofiles", "--clear-groups", "tcpserver", *words)


def stop_tcpserver(installation: ManagedInstallation, server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    server.wait(60)
    installation.run(installation.folder / "init/qmail", "stop")
    installation.demand_silence()


def sessions_of(installation: ManagedInstallation) -> int:
    """The connections with clients that the resident service holds."""
    smtpd = installation.service_pid("qmail-smtpd")
    held = {os.readlink(f"/proc/{smtpd}/fd/{fd}") for fd in os.listdir(f"/proc/{smtpd}/fd")}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {f"socket:[{fields[9]}]" for fields in lines if int(fields[1].split(":")[1], 16) == installation.port}
    return len(held & ours)


def greeted(installation: ManagedInstallation) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", installation.port), 30)
    assert sock.recv(200).startswith(b"220 mail.example.org")
    return sock


def end_of(sock: socket.socket) -> bytes:
    """What comes until the connection is closed or cut."""
    try:
        return sock.recv(200)
    except ConnectionResetError:
        return b""


def test_tcpserver_counts_clients_that_were_handed_over(switched_on: ManagedInstallation) -> None:
    installation = switched_on
    server = start_tcpserver(installation, "-c", "2")
    installation.demand_greeting()
    assert "127.0.0.1" in installation.demand_delivery()
    with greeted(installation), greeted(installation) as second:
        assert sessions_of(installation) == 2
        with socket.create_connection(("127.0.0.1", installation.port), 30) as third:
            third.settimeout(1)
            with pytest.raises(TimeoutError):
                third.recv(200)
            second.sendall(b"QUIT\r\n")
            third.settimeout(60)
            assert third.recv(200).startswith(b"220 ")
    stop_tcpserver(installation, server)


def test_a_service_that_dies_is_replaced_and_its_programs_end(switched_on: ManagedInstallation) -> None:
    installation = switched_on
    server = start_tcpserver(installation)
    installation.demand_greeting()
    with greeted(installation) as client:
        smtpd = installation.service_pid("qmail-smtpd")
        os.kill(smtpd, signal.SIGKILL)
        assert end_of(client) == b""
    installation.demand_greeting()
    installation.demand_delivery()
    stop_tcpserver(installation, server)


def test_without_the_service_each_program_serves_its_client(installation: ManagedInstallation) -> None:
    server = start_tcpserver(installation)
    installation.demand_greeting()
    assert "qmail-smtpd" not in installation.accounts()
    installation.demand_delivery()
    with greeted(installation):
        assert installation.accounts()["qmail-smtpd program"] == "qmaild"
    stop_tcpserver(installation, server)


def test_another_account_is_refused_and_serves_its_client_itself(switched_on: ManagedInstallation) -> None:
    """Other accounts cannot reach the socket; root can, and is refused."""
    installation = switched_on
    installation.generate("init", pidfile=installation.folder / "qmail.pid")
    installation.run(installation.folder / "init/qmail", "start")
    status = os.stat(installation.home / "run/smtp.sock")
    assert (Path(installation.home / "run/smtp.sock").owner(), status.st_mode & 0o777) == ("qmaild", 0o600)
    for uid, is_taken in ((0, False), (65534, False), (Path(installation.home / "run/smtp.sock").stat().st_uid, True)):
        with socket.create_server(("127.0.0.1", installation.port)) as listener:
            client = socket.create_connection(("127.0.0.1", installation.port), 30)
            theirs, _ = listener.accept()
        with client, theirs:
            program = subprocess.Popen(
                [installation.home / "bin/qmail-smtpd"],
                stdin=theirs,
                stdout=theirs,
                user=uid,
                group=65534,
                extra_groups=[],
            )
            theirs.close()
            assert client.recv(200).startswith(b"220 ")
            assert sessions_of(installation) == is_taken
            client.sendall(b"QUIT\r\n")
            assert client.recv(200).startswith(b"221 ")
            assert program.wait(60) == 0
    installation.run(installation.folder / "init/qmail", "stop")
    installation.demand_silence()


def test_xinetd_hands_over_with_tls_and_the_log_of_the_program(switched_on: ManagedInstallation) -> None:
    installation = switched_on
    certificate = installation.home / "control/servercert.pem"
    put_certificate(certificate, "mail.example.org")
    os.chmod(certificate, 0o644)
    log = installation.folder / "seen"
    log.mkdir()
    log.chmod(0o777)
    splogger = installation.home / "bin/splogger"
    original = splogger.read_bytes()
    splogger.write_text(f'#!/bin/sh\necho started >>"{log}/$1.starts"\nexec cat >>"{log}/$1"\n')
    try:
        start_both(installation, address="127.0.0.1")
        installation.demand_greeting()
        with greeted(installation):
            assert sessions_of(installation) == 1
        assert "client.example.net" in installation.demand_delivery()
        server = (
            "swaks",
            "--server",
            f"127.0.0.1:{installation.port}",
            "--from",
            "a@b.example",
            "--to",
            "ann@mail.example.org",
        )
        assert "~> QUIT" in installation.run(*server, "--tls", "--helo", "client.example.net")
        until(lambda: any("with ESMTPS (" in text for text in installation.inbox()), "the message under TLS")
        accepted = "qmail-smtpd: message accepted: a@b.example from 127.0.0.1 to ann@mail.example.org"
        until(lambda: accepted in (log / "xinetd-smtpd").read_text(), "a line in the log of the program")
        starts = (log / "xinetd-smtpd.starts").read_text()
        for _ in range(3):
            with greeted(installation) as client:
                client.sendall(b"QUIT\r\n")
                assert client.recv(200).startswith(b"221 ")
                assert end_of(client) == b""
        with greeted(installation):
            pass
        one_more = starts + "started\n"
        until(
            lambda: (log / "xinetd-smtpd.starts").read_text() >= one_more,
            "the line about a client that went without a word",
        )
        assert (log / "xinetd-smtpd.starts").read_text() == one_more, "a splogger that had nothing to log"
        stop_both(installation)
    finally:
        splogger.write_bytes(original)
        certificate.unlink()


def test_a_service_file_can_keep_its_programs_from_it(switched_on: ManagedInstallation) -> None:
    installation = switched_on
    start_both(installation, address="127.0.0.1", handover="no")
    installation.demand_greeting()
    with greeted(installation):
        assert sessions_of(installation) == 0
    installation.demand_delivery()
    stop_both(installation)
