"""Milters with both drivers: what is sent to them, the effect of their answers, and their isolation."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.smtpd.test_sessions import until
from tests.support.filtered_servers import KINDS, MESSAGE, QUEUED, SmtpConversation, open_conversation
from tests.support.scripted_milter import Answer, ScriptedMilter, agreement, packet
from tests.support.smtp_servers import Home, Resident

TRY_LATER = b"451 4.7.1 Service unavailable - try again later"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def milter(home: Home, tmp_path: Path) -> Iterator[ScriptedMilter]:
    with ScriptedMilter(str(tmp_path / "milter.sock")) as one:
        home.write("milters", f"{one.address}\n")
        yield one


def changes(*all_of_them: bytes) -> list[bytes]:
    return [*all_of_them, b"c"]


class TestMilterInput:
    """Stages, macros, and the message."""

    def test_all_stages_in_order(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        with open_conversation(
            kind, home, TCPREMOTEHOST="client.test", TCPREMOTEPORT="4242", TCPLOCALIP="127.0.0.2"
        ) as client:
            client.command(b"EHLO me")
            assert client.send(b"j@ours.test", b"k@ours.test").startswith(b"250 ok ")
            assert client.command(b"QUIT").startswith(b"221")
            milter.ended.acquire(timeout=60)
            assert client.queued() == [(b"Fjoe@a.test\0Tj@ours.test\0Tk@ours.test\0\0", QUEUED)]
        assert milter.letters() == b"OCHMRRTLLNBEQ"
        assert milter.payloads(b"M") == [b"<joe@a.test>\0"]
        assert milter.payloads(b"R") == [b"<j@ours.test>\0", b"<k@ours.test>\0"]
        assert milter.payloads(b"L") == [b"From\0joe@a.test\0", b"Subject\0 two\n words\0"]
        assert milter.payloads(b"B") == [b"body\r\n.dot\r\n"]
        (connected,) = milter.payloads(b"C")
        macros = milter.payloads(b"D")
        assert macros[0].startswith(b"Cj\0mx.test\0_\0")
        if kind == "program":
            assert connected == b"client.test\0004\x10\x92127.0.0.1\0"
            assert b"{client_name}\0client.test\0" in macros[0]
        else:
            assert connected.startswith((b"[127.0.0.1]\x004", b"client.test\x004"))
        assert macros[2].startswith(b"Mi\0") and macros[2].endswith(b"{mail_addr}\0joe@a.test\0{mail_host}\0a.test\0")
        assert macros[3] == b"R{rcpt_addr}\0j@ours.test\0{rcpt_host}\0ours.test\0"

    def test_the_login_name_is_sent(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        home.write("smtpcheckpw", "bin/checker /bin/true\n")
        with open_conversation(kind, home) as client:
            client.command(b"EHLO me")
            assert client.command(b"AUTH PLAIN AGpvZQBnb29k").startswith(b"235")
            client.command(b"MAIL FROM:<a@b>")
        assert b"{auth_type}\0PLAIN\0{auth_authen}\0joe\0" in milter.payloads(b"D")[2]

    def test_parameters_come_with_their_command(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        with open_conversation(kind, home) as client:
            client.command(b"EHLO me")
            mail = b"MAIL FROM:<joe@a.test> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=max@a.test X=\1"
            assert client.command(mail) == b"250 ok"
            assert client.command(b"RCPT TO:<j@ours.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;j@ours.test") == b"250 ok"
            assert client.command(b"RCPT TO:<k@ours.test>") == b"250 ok"
            client.command(b"RSET")
            client.command(b"MAIL FROM: joe@a.test")
        assert milter.payloads(b"M") == [
            b"<joe@a.test>\0SIZE=100\0BODY=8BITMIME\0SMTPUTF8\0RET=HDRS\0ENVID=a+2Bb\0AUTH=max@a.test\0X=?\0",
            b"<joe@a.test>\0",
        ]
        assert milter.payloads(b"R") == [
            b"<j@ours.test>\0NOTIFY=SUCCESS,DELAY\0ORCPT=rfc822;j@ours.test\0",
            b"<k@ours.test>\0",
        ]
        assert b"{auth_author}\0max@a.test\0" in milter.payloads(b"D")[2]

    def test_any_macro_that_is_known_can_be_asked_for(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        names = b"j _ r s i {client_addr} {client_port} {mail_addr} {rcpt_addr} {cipher} {nobody}"
        lists = b"".join([number.to_bytes(4, "big") + names + b"\0" for number in (0, 3, 5)])
        milter.script[b"O"] = agreement() + lists
        with open_conversation(kind, home, TCPREMOTEHOST="client.test", TCPREMOTEPORT="4242") as client:
            client.command(b"EHLO me")
            client.send(b"j@ours.test")
        words = {payload[:1]: payload[1:].split(b"\0") for payload in milter.payloads(b"D") if payload[:1] in b"CRE"}
        reported = {letter: dict(zip(text[::2], text[1::2], strict=False)) for letter, text in words.items()}
        assert reported[b"C"].keys() == {b"j", b"_", b"r", b"{client_addr}", b"{client_port}"}
        assert reported[b"R"][b"{rcpt_addr}"] == b"j@ours.test"
        last = reported[b"E"]
        assert (last[b"j"], last[b"r"], last[b"s"], last[b"{mail_addr}"]) == (
            b"mx.test",
            b"ESMTP",
            b"me",
            b"joe@a.test",
        )
        assert last[b"i"] == reported[b"R"][b"i"] and len(last[b"i"]) > 8
        if kind == "program":
            assert reported[b"C"][b"_"] == b"client.test [127.0.0.1]"
            assert reported[b"C"][b"{client_port}"] == b"4242"

    def test_without_a_name_the_client_is_its_address(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        with open_conversation(kind, home) as client:
            client.command(b"NOOP")
        assert b"\0_\0[127.0.0.1]\0" in milter.payloads(b"D")[0]

    def test_only_accepted_commands_are_sent(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        home.write("badmailfrom", "spam@a.test\n")
        with open_conversation(kind, home) as client:
            client.command(b"MAIL FROM:<joe@a.test>")
            assert client.command(b"RCPT TO:<x@elsewhere.test>").startswith(b"553")
            assert client.command(b"DATA").startswith(b"503")
        assert milter.letters() in (b"OCM", b"OCMQ")

    @pytest.mark.parametrize("size", [60_000, 70_000, 700_000])
    def test_messages_of_any_size(self, kind: str, home: Home, milter: ScriptedMilter, size: int) -> None:
        line = b"x" * 70 + b"\n"
        body = line * (size // len(line))
        with open_conversation(kind, home) as client:
            client.sock.settimeout(60)
            answer = client.send(message=b"A: b\r\n\r\n" + body.replace(b"\n", b"\r\n"))
            assert answer.startswith(b"250 ok ")
            assert client.queued()[0][1] == b"A: b\n\n" + body
        received = milter.payloads(b"B")
        assert b"".join(received) == body.replace(b"\n", b"\r\n")
        assert max(map(len, received)) <= 65535

    def test_a_message_without_a_header(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        milter.script[b"E"] = changes(b"hX-Seen\0yes\0")
        with open_conversation(kind, home) as client:
            client.send(message=b"just text\r\n")
            client.send(message=b"\r\n")
            assert [text for _, text in client.queued()] == [b"X-Seen: yes\n\njust text\n", b"X-Seen: yes\n\n"]

    def test_one_connection_for_all_messages_of_a_client(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        with open_conversation(kind, home) as client:
            client.send()
            client.command(b"MAIL FROM:<a@b>")
            client.command(b"RSET")
            client.send()
            client.command(b"QUIT")
        milter.ended.acquire(timeout=60)
        assert milter.letters() == b"OCMRTLLNBEMAMRTLLNBEQ"
        assert len({macros for macros in milter.payloads(b"D") if macros.startswith(b"Mi\0")}) == 3

    def test_nomilter(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        with open_conversation(kind, home, NOMILTER="") as client:
            assert client.send().startswith(b"250 ok ")
            assert client.queued()[0][1] == QUEUED
        assert not milter.received

    def test_chunks(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        home.write("chunking", "\n")
        with open_conversation(kind, home) as client:
            client.command(b"EHLO me")
            client.command(b"MAIL FROM:<joe@a.test>")
            client.command(b"RCPT TO:<j@ours.test>")
            client.sock.sendall(b"BDAT 6\r\nA: b\r\n")
            assert client.read_reply() == b"250 ok"
            client.sock.sendall(b"BDAT 8 LAST\r\n\r\nhello\n")
            answer = client.read_reply()
            if answer.startswith(b"250"):
                assert client.queued()[0][1] == b"A: b\n\nhello\n"


class TestRefusals:
    """At each stage."""

    @pytest.mark.parametrize(
        ("letter", "line", "answer", "expected"),
        [
            (b"H", b"EHLO me", b"r", b"550 5.7.1 Command rejected"),
            (b"M", b"MAIL FROM:<a@b>", b"t", TRY_LATER),
            (b"R", b"RCPT TO:<j@ours.test>", b"y550 5.1.1 who?\0", b"550 5.1.1 who?"),
            (b"T", b"DATA", b"y450-4.2.0 so\r\n450 4.2.0 many\0", b"450-4.2.0 so\n450 4.2.0 many"),
            (b"L", MESSAGE + b".", b"r", b"550 5.7.1 Command rejected"),
            (b"N", MESSAGE + b".", b"t", TRY_LATER),
            (b"B", MESSAGE + b".", b"y554 5.6.0 no\0", b"554 5.6.0 no"),
            (b"E", MESSAGE + b".", b"y550-5.7.1 a\r\n550 5.7.1 b\0", b"550-5.7.1 a\n550 5.7.1 b"),
        ],
    )
    def test_at_each_stage(
        self, kind: str, home: Home, milter: ScriptedMilter, letter: bytes, line: bytes, answer: bytes, expected: bytes
    ) -> None:
        milter.script[letter] = answer
        with open_conversation(kind, home) as client:
            lines = [b"EHLO me", b"MAIL FROM:<a@b>", b"RCPT TO:<j@ours.test>", b"DATA", MESSAGE + b"."]
            for one in lines[: lines.index(line)]:
                assert client.command(one)[:1] in (b"2", b"3")
            assert client.command(line) == expected
            assert client.command(b"NOOP") == b"250 ok"
            assert not client.queued()

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [(b"r", b"554 5.7.1 Command rejected"), (b"y450 4.7.0 wait\0", b"421 4.7.0 wait")],
    )
    def test_of_a_client(self, kind: str, home: Home, milter: ScriptedMilter, answer: bytes, expected: bytes) -> None:
        milter.script[b"C"] = answer
        with open_conversation(kind, home) as client:
            assert client.greeting == expected
            assert client.read_reply() == b""

    def test_of_a_hello_hold_until_the_next_hello(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        milter.script[b"H"] = b"r"
        with open_conversation(kind, home) as client:
            assert client.command(b"HELO spam").startswith(b"550")
            assert client.command(b"MAIL FROM:<a@b>").startswith(b"550")
            milter.script[b"H"] = b"c"
            assert client.command(b"HELO ham").startswith(b"250")
            assert client.command(b"MAIL FROM:<a@b>") == b"250 ok"

    def test_of_a_recipient_leave_the_others(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        def judge(sock: socket.socket) -> None:
            bad = milter.payloads(b"R")[-1] == b"<bad@ours.test>\0"
            sock.sendall(packet(b"r" if bad else b"c"))

        milter.script[b"R"] = judge
        with open_conversation(kind, home) as client:
            client.command(b"MAIL FROM:<joe@a.test>")
            assert client.command(b"RCPT TO:<good@ours.test>") == b"250 ok"
            assert client.command(b"RCPT TO:<bad@ours.test>").startswith(b"550")
            client.command(b"DATA")
            assert client.command(MESSAGE + b".").startswith(b"250 ok")
            assert client.queued()[0][0] == b"Fjoe@a.test\0Tgood@ours.test\0\0"

    def test_with_421_end_the_conversation(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        milter.script[b"E"] = b"4"
        with open_conversation(kind, home) as client:
            assert client.send() == b"421 4.7.0 Service unavailable - closing"
            assert client.read_reply() == b""

    def test_are_logged(self, kind: str, home: Home, milter: ScriptedMilter, capfd: pytest.CaptureFixture[str]) -> None:
        milter.script[b"E"] = b"y550 5.7.1 virus\0"
        with open_conversation(kind, home) as client:
            client.send()
            client.command(b"QUIT")
        line = (
            "qmail-smtpd: message rejected (550 5.7.1 virus): joe@a.test from 127.0.0.1 to j@ours.test helo unknown\n"
        )
        assert line in capfd.readouterr().err


class TestChanges:
    """What becomes of a message."""

    def changed(self, kind: str, home: Home, milter: ScriptedMilter, *wanted: bytes) -> tuple[bytes, bytes]:
        milter.script[b"E"] = changes(*wanted)
        with open_conversation(kind, home) as client:
            assert client.send(b"j@ours.test", b"k@ours.test").startswith(b"250 ok ")
            (queued,) = client.queued()
        return queued

    def test_of_the_header(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        _, text = self.changed(
            kind,
            home,
            milter,
            b"hX-Last\0a\n b\0",
            b"i\0\0\0\0X-First\0one\0",
            b"i\0\0\0\2X-Second\0two\0",
            b"m\0\0\0\1subject\0other\0",
            b"m\0\0\0\1From\0\0",
        )
        assert text == b"X-First: one\nX-Second: two\nsubject: other\nX-Last: a\n b\n\nbody\n.dot\n"

    def test_of_the_envelope(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        envelope, text = self.changed(
            kind, home, milter, b"+<new@else.test>\0", b"-<J@ours.test>\0", b"e<other@a.test>\0", b"+k@ours.test\0"
        )
        assert envelope == b"Fother@a.test\0Tk@ours.test\0Tnew@else.test\0\0"
        assert text == QUEUED

    def test_of_dsn(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        milter.script[b"E"] = changes(
            b"e<new@a.test>\0RET=FULL BODY=8BITMIME ENVID=x\0",
            b"2<l@else.test>\0NOTIFY=NEVER ORCPT=rfc822;l@else.test\0",
            b"2<m@else.test>\0",
            b"-<j@ours.test>\0",
        )
        with open_conversation(kind, home) as client:
            client.command(b"EHLO me")
            client.command(b"MAIL FROM:<joe@a.test> RET=HDRS ENVID=old")
            client.command(b"RCPT TO:<j@ours.test> NOTIFY=SUCCESS")
            client.command(b"RCPT TO:<k@ours.test> NOTIFY=DELAY")
            client.command(b"DATA")
            assert client.command(MESSAGE + b".").startswith(b"250 ok")
            ((envelope, _),) = client.queued()
        assert envelope == (
            b"Fnew@a.test\0Tk@ours.test\0Tl@else.test\0Tm@else.test\0\0W F E:x 0:d: 1:n:rfc822;l@else.test\0"
        )

    @pytest.mark.parametrize("change", [b"e<a@b>\0RET=SOME\0", b"2<a@b>\0NOTIFY=NEVER,DELAY\0"])
    def test_of_invalid_dsn_parameters(self, kind: str, home: Home, milter: ScriptedMilter, change: bytes) -> None:
        milter.script[b"E"] = changes(change)
        with open_conversation(kind, home) as client:
            assert client.send() == TRY_LATER
            assert not client.queued()

    def test_of_the_body(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        _, text = self.changed(kind, home, milter, b"bfirst\r", b"b\nsecond\r\n")
        assert text == QUEUED.partition(b"\n\n")[0] + b"\n\nfirst\nsecond\n"

    def test_of_the_body_into_a_long_one(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        _, text = self.changed(kind, home, milter, *[b"b" + b"y" * 60_000] * 20)
        assert text == QUEUED.partition(b"\n\n")[0] + b"\n\n" + b"y" * 1_200_000

    def test_a_message_without_remaining_recipients(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        milter.script[b"E"] = changes(b"-<j@ours.test>\0")
        with open_conversation(kind, home) as client:
            assert client.send().startswith(b"250 ok ")
            assert not client.queued()

    @pytest.mark.parametrize("letter", [b"M", b"R", b"T", b"L", b"E"])
    def test_discarded(self, kind: str, home: Home, milter: ScriptedMilter, letter: bytes) -> None:
        milter.script[letter] = b"d"
        with open_conversation(kind, home) as client:
            assert client.send().startswith(b"250 ok ")
            assert not client.queued()
            milter.script[letter] = b"c"
            assert client.send().startswith(b"250 ok ")
            assert len(client.queued()) == 1

    def test_quarantined(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        home.write("quarantineto", "judge@ours.test\n")
        envelope, text = self.changed(kind, home, milter, b"qa virus\0")
        assert envelope == b"F\0Tjudge@ours.test\0\0"
        assert text == (
            b"X-Quarantine-Reason: a virus\nX-Quarantine-Sender: <joe@a.test>\n"
            b"X-Quarantine-Recipients: <j@ours.test> <k@ours.test>\n" + QUEUED
        )

    def test_quarantine_without_a_folder(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        milter.script[b"E"] = changes(b"qa virus\0")
        with open_conversation(kind, home) as client:
            assert client.send() == b"451 sorry, there is no place for quarantine (#4.3.5)"
            assert not client.queued()

    def test_the_second_milter_sees_the_changes_of_the_first(
        self, kind: str, home: Home, milter: ScriptedMilter, tmp_path: Path
    ) -> None:
        milter.script[b"E"] = changes(b"hX-A\0a\0", b"bnew\r\n", b"i\0\0\0\0X-0\0zero\0")
        with ScriptedMilter() as second:
            home.write("milters", f"# two\n{milter.address}\n{second.address} timeout=5\n")
            second.script[b"E"] = changes(b"m\0\0\0\1X-A\0b\0", b"i\0\0\0\1X-1\0one\0")
            with open_conversation(kind, home) as client:
                client.send()
                assert client.queued()[0][1] == (
                    b"X-1: one\nX-0: zero\nFrom: joe@a.test\nSubject:  two\n words\nX-A: b\n\nnew\n"
                )
            assert second.payloads(b"L")[0] == b"X-0\0zero\0"
            assert second.payloads(b"B") == [b"new\r\n"]

    def test_the_first_refusal_decides(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        milter.script[b"R"] = b"r"
        with ScriptedMilter() as second:
            home.write("milters", f"{milter.address}\n{second.address}\n")
            with open_conversation(kind, home) as client:
                client.command(b"MAIL FROM:<a@b>")
                assert client.command(b"RCPT TO:<j@ours.test>").startswith(b"550")
            assert second.letters().startswith(b"OCM") and b"R" not in second.letters()


def drop(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_RDWR)


FAULTS: dict[str, Answer] = {
    "drops": drop,
    "talks HTTP": lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "says an empty packet": lambda sock: sock.sendall(b"\0\0\0\0"),
    "says half a packet": lambda sock: (sock.sendall(b"\0\0\0\5c"), drop(sock))[1],
    "says what nobody knows": b"?what",
    "answers twice": [b"c", b"c", b"c"],
    "agrees again": agreement(),
    "changes too early": b"hX\0y\0",
}
STAGES = (b"O", b"C", b"H", b"M", b"R", b"T", b"L", b"N", b"B")


class TestFaults:
    """A milter that is away, broken or slow."""

    def verdicts(self, client: SmtpConversation) -> bytes:
        """First digits of the answers to a whole transaction."""
        codes = client.greeting[:1] + client.command(b"EHLO me")[:1] + client.command(b"MAIL FROM:<a@b>")[:1]
        if codes.endswith(b"2"):
            codes += client.command(b"RCPT TO:<j@ours.test>")[:1]
        if codes.endswith(b"222"):
            codes += client.command(b"DATA")[:1]
        if codes.endswith(b"3"):
            codes += client.command(MESSAGE + b".")[:1]
        return codes

    @pytest.mark.parametrize(
        ("default", "expected"), [("", b"224"), ("default=accept", b"222232"), ("default=reject", b"225")]
    )
    @pytest.mark.parametrize("address", ["unix:/nonexistent", "inet:127.0.0.1:1", "nonsense", "inet6:[::1]:1"])
    def test_a_missing_milter(
        self, kind: str, home: Home, capfd: pytest.CaptureFixture[str], default: str, expected: bytes, address: str
    ) -> None:
        home.write("milters", f"{address} {default}\n")
        with open_conversation(kind, home) as client:
            assert self.verdicts(client) == expected
            assert len(client.queued()) == expected.endswith(b"32")
            if client.server is not None:
                (complaint,) = client.server.complaints
                assert complaint.startswith(b"milter " + address.encode() + b": ")
                assert b"(default=" in complaint

    @pytest.mark.parametrize("letter", STAGES)
    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_broken_milter(self, kind: str, home: Home, milter: ScriptedMilter, fault: str, letter: bytes) -> None:
        if (fault, letter) in (("agrees again", b"O"), ("answers twice", b"N")):
            return  # the first is right, and in the second the next questions are answered ahead
        milter.script[letter] = FAULTS[fault]
        with open_conversation(kind, home) as client:
            # An answer too many may be read in time to count for the next question, as the protocol has it.
            last = self.verdicts(client)[-1:]
            assert last in (b"4", b"2" if fault == "answers twice" else b"4")
            assert client.command(b"NOOP") == b"250 ok"
            assert bool(client.queued()) == (last == b"2")
        home.write("milters", f"{milter.address} default=accept\n")
        with open_conversation(kind, home) as client:
            assert self.verdicts(client) == b"222232"
            assert client.queued()[-1][1] == QUEUED

    @pytest.mark.parametrize("letter", [b"O", b"R"])
    def test_a_silent_milter(self, kind: str, home: Home, milter: ScriptedMilter, letter: bytes) -> None:
        milter.script[letter] = None
        home.write("milters", f"{milter.address} timeout=1 default=accept\n")
        with open_conversation(kind, home) as client:
            assert self.verdicts(client) == b"222232"

    def test_a_milter_that_reports_progress_is_waited_for(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        def slowly(sock: socket.socket) -> None:
            for _ in range(4):
                time.sleep(1.2)
                sock.sendall(packet(b"p"))
            sock.sendall(packet(b"c"))

        milter.script[b"R"] = slowly
        home.write("milters", f"{milter.address} timeout=4\n")
        with open_conversation(kind, home) as client:
            client.command(b"MAIL FROM:<a@b>")
            assert client.command(b"RCPT TO:<j@ours.test>") == b"250 ok"

    def test_a_milter_that_returns_is_asked_again(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        milter.script[b"R"] = drop
        with open_conversation(kind, home) as client:
            client.command(b"EHLO me")
            assert client.command(b"MAIL FROM:<a@b>") == b"250 ok"
            assert client.command(b"RCPT TO:<j@ours.test>") == TRY_LATER
            assert client.command(b"RCPT TO:<j@ours.test>") == TRY_LATER
            milter.script[b"R"] = b"c"
            client.command(b"RSET")
            assert client.send().startswith(b"250 ok")
            assert len(client.queued()) == 1
        assert milter.letters(1).startswith(b"OCHMRTLLNBE")

    def test_a_milter_that_sends_endlessly(self, kind: str, home: Home, milter: ScriptedMilter) -> None:
        def flood(sock: socket.socket) -> None:
            piece = packet(b"b", b"x" * 60_000)
            for _ in range(400):
                sock.sendall(piece)

        milter.script[b"E"] = flood
        with open_conversation(kind, home) as client:
            assert client.send() == TRY_LATER
            assert not client.queued()


class TestManyClients:
    """The resident service."""

    def test_a_slow_milter_delays_no_other_client(self, home: Home, milter: ScriptedMilter) -> None:
        waiting, go = threading.Event(), threading.Event()

        def slowly(sock: socket.socket) -> None:
            if not waiting.is_set():
                waiting.set()
                go.wait(60)
            sock.sendall(packet(b"c"))

        milter.script[b"M"] = slowly
        with Resident(home) as server, server.connect() as one, server.connect() as other:
            first = SmtpConversation(one, server, home)
            one.sendall(b"MAIL FROM:<a@b>\r\n")
            assert waiting.wait(60)
            assert SmtpConversation(other, server, home).send().startswith(b"250 ok")
            go.set()
            assert first.read_reply() == b"250 ok"

    @pytest.mark.parametrize("letter", [b"M", b"R", b"T", b"B", b"E"])
    def test_a_client_that_vanishes_leaves_nothing(self, home: Home, milter: ScriptedMilter, letter: bytes) -> None:
        milter.script[letter] = None
        with Resident(home) as server:
            before = len(server.context.sessions)
            with server.connect() as sock:
                sock.sendall(b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<j@ours.test>\r\nDATA\r\n" + MESSAGE + b".\r\n")
                until(lambda: milter.received and letter in milter.letters())
            milter.ended.acquire(timeout=60)
            until(lambda: len(server.context.sessions) == before)
            assert not server.queued()

    def test_a_queue_that_is_slow_gets_a_long_message_whole(self, home: Home, milter: ScriptedMilter) -> None:
        with Resident(home) as server, server.connect() as sock:
            client = SmtpConversation(sock, server, home)
            server.queue.is_slow = True
            client.command(b"MAIL FROM:<a@b>")
            client.command(b"RCPT TO:<j@ours.test>")
            client.command(b"DATA")
            body = b"x" * 78 + b"\r\n"
            sock.sendall(b"A: b\r\n\r\n" + body * 3000 + b".\r\n")
            until(lambda: server.queue.pieces)
            server.queue.is_slow = False
            server.call(server.queue.resume)
            assert client.read_reply().startswith(b"250 ok")
            assert client.queued()[0][1] == b"A: b\n\n" + (b"x" * 78 + b"\n") * 3000

    def test_without_milters_nothing_is_asked(self, home: Home) -> None:
        with Resident(home) as server:
            assert server.settings.filters is None
