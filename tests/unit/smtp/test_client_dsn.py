"""DSN parameters as sent to a server, and the responsibility for the report."""

from eqmail_core.dsn.parameters import parse_dsn
from eqmail_core.mail.received import is_beyond_ascii
from eqmail_core.smtp.client import SmtpClient
from eqmail_core.smtp.exchange import CONTENT, DONE

DSN = b"W H E:id 0:sf:rfc822;R0@y 2:n:"


class DsnServer:
    """A server that offers these extensions, up to DATA."""

    def __init__(self, *extensions: bytes, dsn: bytes = DSN, keep: bool = False) -> None:
        self.client = SmtpClient(b"192.0.2.7", b"me.test", keep=keep)
        self.client.begin(b"s@x", [b"r%d@y" % number for number in range(3)], parse_dsn(dsn))
        self.client.receive(b"220 hi\r\n")
        self.client.take_output()
        self.client.receive(b"".join(b"250-%b\r\n" % it for it in (b"x", *extensions)) + b"250 SIZE\r\n")
        self.sent_data = self.client.take_output()
        self.is_pipelining = b"PIPELINING" in extensions

    def finish(self) -> "DsnServer":
        """Agree with everything."""
        while self.client.status not in (CONTENT, DONE):
            self.client.receive(b"250 ok\r\n" * (4 if self.is_pipelining else 1))
            sent_data = self.client.take_output()
            self.sent_data += sent_data
            if sent_data == b"DATA\r\n" or self.is_pipelining:
                self.client.receive(b"354 go\r\n")
        return self


def test_a_server_with_dsn_gets_the_parameters() -> None:
    for extensions in ((b"DSN",), (b"DSN", b"PIPELINING")):
        server = DsnServer(*extensions).finish()
        assert server.sent_data == (
            b"MAIL FROM:<s@x> RET=HDRS ENVID=id\r\nRCPT TO:<r0@y> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;R0@y\r\n"
            b"RCPT TO:<r1@y>\r\nRCPT TO:<r2@y> NOTIFY=NEVER\r\nDATA\r\n"
        )
        assert server.client.next_hop_sends_dsn


def test_a_server_without_dsn_gets_none_and_takes_no_responsibility() -> None:
    server = DsnServer(b"PIPELINING").finish()
    assert server.sent_data == b"MAIL FROM:<s@x>\r\nRCPT TO:<r0@y>\r\nRCPT TO:<r1@y>\r\nRCPT TO:<r2@y>\r\nDATA\r\n"
    assert not server.client.next_hop_sends_dsn


def test_a_smtputf8_message_goes_to_a_server_with_smtputf8() -> None:
    server = DsnServer(b"SMTPUTF8", b"PIPELINING", dsn=b"W U")
    assert server.sent_data.startswith(b"MAIL FROM:<s@x> SMTPUTF8\r\n")


def test_a_smtputf8_message_fails_at_a_server_without_smtputf8() -> None:
    server = DsnServer(b"PIPELINING", dsn=b"W U")
    assert server.sent_data == b"QUIT\r\n"
    assert server.client.status == DONE
    assert server.client.report == b"D192.0.2.7 does not take messages beyond ASCII (SMTPUTF8). (#5.6.7)\n\0"


def test_a_message_without_dsn_parameters_may_reuse_the_session() -> None:
    server = DsnServer(b"DSN", b"PIPELINING", keep=True).finish()
    for piece in (b"Subject: x\n\n", b""):
        server.client.supply(piece)
    server.client.receive(b"250 ok\r\n")
    server.client.take_output()
    assert server.client.is_reusable
    server.client.begin(b"s@x", [b"r@y"])
    assert server.client.take_output() == b"MAIL FROM:<s@x>\r\nRCPT TO:<r@y>\r\nDATA\r\n"
    assert not server.client.next_hop_sends_dsn


def test_the_received_line_names_the_protocol() -> None:
    queued = b"Received: (qmail 7 invoked from network); now\n"
    trace = b"Received: from a (HELO b) (1.2.3.4)\n  by c with UTF8SMTPS (X encrypted); now\n"
    assert is_beyond_ascii(queued + trace + b"Subject: x\n\n")
    assert not is_beyond_ascii(queued + b"Received: from a (1.2.3.4)\n  by c with ESMTP; now\n" + trace + b"\n")
    assert not is_beyond_ascii(queued + b"Subject: x\n\n" + trace)
    assert not is_beyond_ascii(b"")
