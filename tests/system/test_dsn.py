"""DSN parameters through a whole mail system: from EHLO to the report, with spills, kills and a server with DSN."""

import os
import smtplib
import socket
import threading
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import cast

import pytest

from tests.support.mail_system import MailSystem, make_maildir, messages, until

ME = "mail.example.org"
TEXT = "Subject: hello\r\n\r\nbody\r\n"


class Peer(threading.Thread):
    """An SMTP server that accepts everything and records the commands; its extensions are given."""

    def __init__(self, *offers: str) -> None:
        super().__init__(daemon=True)
        self.offers = offers
        self.received: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.start()

    def run(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock, sock.makefile("rwb", 0) as file:
                self._serve(file)

    def _serve(self, file: socket.SocketIO) -> None:
        file.write(b"220 peer\r\n")
        while line := file.readline().decode():
            self.received.append(line.strip())
            word = line.split()[0].upper()
            if word == "EHLO":
                lines = ["peer", *self.offers, "8BITMIME"]
                text = "".join(f"250-{it}\r\n" for it in lines[:-1]) + f"250 {lines[-1]}\r\n"
                file.write(text.encode())
            elif word == "DATA":
                file.write(b"354 go\r\n")
                while file.readline() != b".\r\n":
                    pass
                file.write(b"250 ok\r\n")
            elif word == "QUIT":
                file.write(b"221 bye\r\n")
                return
            else:
                file.write(b"250 ok\r\n")


class Box:
    """A mail system, and the mailbox of a sender that gets the reports."""

    def __init__(self, home: Path) -> None:
        self.home = home
        alias = home / "alias"
        self.reports_dir = make_maildir(alias / "Reports")
        self.maildir = make_maildir(alias / "Maildir")
        (alias / ".qmail-joe").write_text("./Maildir/\n")
        (alias / ".qmail-postmaster").write_text("./Maildir/\n")
        (alias / ".qmail-sender").write_text("./Reports/\n")
        (home / "control/rcpthosts").write_text(f"{ME}\nfar.example\n")
        (home / "control/smtproutes").write_text(":127.0.0.1:1\n")
        self.mail_system = MailSystem(home)

    def send(self, recipients: dict[str, list[str]], *options: str, text: str = TEXT) -> None:
        with smtplib.SMTP("127.0.0.1", self.mail_system.port, "client.example.net", timeout=60) as client:
            client.ehlo()
            assert client.has_extn("dsn") and client.has_extn("smtputf8")
            assert client.mail(f"sender@{ME}", list(options))[0] == 250
            for recipient, words in recipients.items():
                assert client.rcpt(recipient, words)[0] == 250
            assert client.data(text.encode())[0] == 250

    def reports(self, count: int) -> list[Message]:
        until(lambda: len(messages(self.reports_dir)) >= count, f"{count} reports:\n{self.mail_system.log()[-3000:]}")
        return [message_from_string(text) for text in messages(self.reports_dir)]


def status(report: Message) -> tuple[Message, list[Message]]:
    """The fields of the message, and those of each recipient."""
    assert report.get_content_type() == "multipart/report"
    parts = cast("list[Message]", report.get_payload())
    about, *recipients = cast("list[Message]", parts[1].get_payload())
    return about, recipients


@pytest.fixture
def box(private_home: Path) -> Iterator[Box]:
    it = Box(private_home)
    yield it
    if it.mail_system.process is not None and it.mail_system.process.poll() is None:
        it.mail_system.stop()


def route_to(box: Box, peer: Peer) -> None:
    (box.home / "control/smtproutes").write_text(f":127.0.0.1:{peer.port}\n")
    box.mail_system.stop()
    box.mail_system.start()


def test_the_sender_of_local_mail_gets_the_report(box: Box) -> None:
    box.send(
        {
            f"joe@{ME}": ["NOTIFY=SUCCESS", f"ORCPT=rfc822;Joe+2B@{ME}"],
            f"nobody@{ME}": ["NOTIFY=NEVER"],
            f"none@{ME}": ["NOTIFY=FAILURE"],
        },
        "ENVID=QQ1",
        "RET=HDRS",
    )
    [report] = box.reports(1)
    about, recipients = status(report)
    assert about["Original-Envelope-Id"] == "QQ1"
    found = {it["Final-Recipient"]: (it["Action"], it["Original-Recipient"]) for it in recipients}
    assert found == {
        f"rfc822; joe@{ME}": ("delivered", f"rfc822; Joe+@{ME}"),
        f"rfc822; none@{ME}": ("failed", None),
    }
    assert "body" not in str(report)
    assert len(messages(box.maildir)) == 1
    box.mail_system.stop()


def test_a_next_hop_that_offers_dsn_sends_the_dsns(box: Box) -> None:
    peer = Peer("DSN", "SMTPUTF8")
    route_to(box, peer)
    dsn = {"a@far.example": ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;A@far.example"]}
    box.send(dsn, "ENVID=QQ2", "SMTPUTF8", text="Subject: grüße\r\n\r\nbody\r\n")
    until(lambda: "DATA" in peer.received, "the mail at the peer")
    assert f"MAIL FROM:<sender@{ME}> ENVID=QQ2 SMTPUTF8" in peer.received
    assert "RCPT TO:<a@far.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;A@far.example" in peer.received
    box.mail_system.stop()
    assert not messages(box.reports_dir)
    peer.listener.close()


def test_a_server_without_dsn_and_smtputf8_gets_neither(box: Box) -> None:
    peer = Peer()
    route_to(box, peer)
    box.send({"a@far.example": ["NOTIFY=SUCCESS"]}, "ENVID=QQ3")
    [report] = box.reports(1)
    _, [passed_on] = status(report)
    assert passed_on["Action"] == "relayed"
    assert "RCPT TO:<a@far.example>" in peer.received
    box.send({"b@far.example": ["NOTIFY=FAILURE"]}, "SMTPUTF8", text="Subject: grüße\r\n\r\nbody\r\n")
    until(lambda: len(messages(box.reports_dir)) == 2, "the second report")
    failed = next(it for it in box.reports(2) if "#5.6.7" in str(it))
    _, [recipient] = status(failed)
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.6.7")
    assert cast("list[Message]", failed.get_payload())[2].get_content_type() == "message/global"
    assert "UTF8SMTP" in str(failed)
    peer.listener.close()


ASKED = ["NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;Joe@{ME}"]


@pytest.fixture
def peer(box: Box) -> Iterator[Peer]:
    it = Peer("DSN")
    route_to(box, it)
    yield it
    it.listener.close()


def arrange(box: Box, name: str, *lines: str) -> None:
    (box.home / f"alias/.qmail-{name}").write_text("".join(f"{line}\n" for line in lines))


def received(box: Box, peer: Peer, count: int) -> list[str]:
    """The commands about envelopes, once so many recipients were named and everything has ended."""
    until(
        lambda: sum(it.startswith("RCPT") for it in peer.received) == count, f"RCPT:\n{box.mail_system.log()[-2000:]}"
    )
    box.mail_system.stop()
    return sorted(it for it in peer.received if it[:4] in ("MAIL", "RCPT"))


def test_an_alias_for_one_address_passes_on_the_dsn_parameters(box: Box, peer: Peer) -> None:
    """RFC 3461 section 5.2.7.2."""
    arrange(box, "one", "&a@far.example")
    box.send({f"one@{ME}": ASKED}, "ENVID=QQ5", "RET=HDRS")
    assert received(box, peer, 1) == [
        f"MAIL FROM:<sender@{ME}> RET=HDRS ENVID=QQ5",
        f"RCPT TO:<a@far.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Joe@{ME}",
    ]
    assert not messages(box.reports_dir)


def test_an_alias_for_several_addresses_sends_the_report_itself(box: Box, peer: Peer) -> None:
    """RFC 3461 section 5.2.7.3 (c)."""
    arrange(box, "two", "&a@far.example", "&b@far.example")
    box.send({f"two@{ME}": ASKED}, "ENVID=QQ6")
    [report] = box.reports(1)
    _, [recipient] = status(report)
    assert (recipient["Action"], recipient["Original-Recipient"]) == ("expanded", f"rfc822; Joe@{ME}")
    rest = [f"RCPT TO:<{box}@far.example> NOTIFY=FAILURE ORCPT=rfc822;Joe@{ME}" for box in "ab"]
    assert [it for it in received(box, peer, 2) if it.startswith("RCPT")] == rest


def test_a_list_is_where_the_message_arrives(box: Box, peer: Peer) -> None:
    """RFC 3461 section 5.2.7.1: the sender gets no report about its members."""
    arrange(box, "list", "&a@far.example")
    arrange(box, "list-owner", "&sender")
    box.send({f"list@{ME}": ASKED}, "ENVID=QQ7")
    [report] = box.reports(1)
    _, [recipient] = status(report)
    assert recipient["Action"] == "delivered"
    assert received(box, peer, 1) == [f"MAIL FROM:<list-owner@{ME}>", "RCPT TO:<a@far.example>"]


@pytest.mark.parametrize("line", ["|forward a@far.example", "|condredirect a@far.example true"])
def test_programs_pass_on_the_remaining_dsn_parameters(box: Box, peer: Peer, line: str) -> None:
    """The program has the message, which is success; NOTIFY=SUCCESS alone becomes NEVER for those after it."""
    arrange(box, "program", line)
    box.send({f"program@{ME}": ["NOTIFY=SUCCESS", f"ORCPT=rfc822;Joe@{ME}"]}, "ENVID=QQ8")
    [report] = box.reports(1)
    _, [recipient] = status(report)
    assert recipient["Action"] == "delivered"
    assert received(box, peer, 1) == [
        f"MAIL FROM:<sender@{ME}> ENVID=QQ8",
        f"RCPT TO:<a@far.example> NOTIFY=NEVER ORCPT=rfc822;Joe@{ME}",
    ]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_deferred_message_keeps_its_dsn_parameters(box: Box, how: str) -> None:
    """The server does not answer at first, so the message goes to the disk; then all services are restarted."""
    box.send({"a@far.example": ["NOTIFY=SUCCESS", "ORCPT=rfc822;A@far.example"]}, "ENVID=QQ4")

    def info() -> bytes:
        paths = [Path(root) / it for root, _, files in os.walk(box.home / "queue/info") for it in files]
        return b"".join(path.read_bytes() for path in paths if not path.name.endswith(".tmp"))

    until(lambda: info().endswith(b"W E:QQ4 r0:s:rfc822;A@far.example\0"), "info on the disk")
    peer = Peer("DSN")
    (box.home / "control/smtproutes").write_text(f":127.0.0.1:{peer.port}\n")
    if how == "stop":
        box.mail_system.stop()
    else:
        box.mail_system.kill()
    for root, _, files in os.walk(box.home / "queue/remote"):
        for name in files:
            os.utime(Path(root) / name, (0, 0))
    box.mail_system.start()
    until(lambda: "DATA" in peer.received, "the mail at the peer:\n" + box.mail_system.log()[-2000:])
    assert f"MAIL FROM:<sender@{ME}> ENVID=QQ4" in peer.received
    assert "RCPT TO:<a@far.example> NOTIFY=SUCCESS ORCPT=rfc822;A@far.example" in peer.received
    peer.listener.close()


def test_a_message_in_the_journal_keeps_its_dsn_parameters_over_a_kill(box: Box) -> None:
    """Everything dies as soon as the client has its answer; what was accepted is delivered as it was asked for."""
    for number in range(5):
        box.send({f"joe@{ME}": ["NOTIFY=SUCCESS"]}, f"ENVID=kill{number}")
    box.mail_system.kill()
    box.mail_system.start()
    wanted = {f"kill{number}" for number in range(5)}
    until(
        lambda: (
            {status(message_from_string(it))[0]["Original-Envelope-Id"] for it in messages(box.reports_dir)} == wanted
        ),
        "five reports",
    )
