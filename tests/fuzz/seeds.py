"""Inputs to begin with: for each target, some that get far."""

import os
import tempfile

from eqmail_core.ipc import submission_protocol as queue_wire
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.format import journal
from eqmail_core.smtpd.protocol.proxy_header import SIGNATURE
from eqmail_core.system.cdb import write_cdb
from eqmail_core.text.framing import netstring
from eqmail_core.users.assign_file import database_records

_CHANGING_MILTER = b"".join(
    len(change).to_bytes(4, "big") + change
    for change in (b"e<n@b>\0RET=FULL ENVID=a+2Bb\0", b"2<l@d>\0NOTIFY=NEVER ORCPT=rfc822;l@d\0", b"-<c@d>\0", b"q\0")
)
_MESSAGE = b'Received: x\r\nFrom: a@b\r\nTo: (c) "d e" <d@e>\r\n\r\n.hello\r\n..\r\n'
_SMTP = (
    b'EHLO me\r\nMAIL FROM:<a@b> SIZE=9 AUTH=x+41\r\nRCPT TO:<@r:c@[127.0.0.1]>\r\nRCPT TO:<"q r"@d>\r\nDATA\r\n'
    + _MESSAGE
    + b".\r\nRSET\r\nAUTH PLAIN AGEAYg==\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\nAUTH CRAM-MD5\r\n*\r\n"
    b"STARTTLS\r\nRSET\r\nVRFY x\r\nQUIT\r\n"
)
_CHUNKS = (
    b"EHLO me\r\nMAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<a@b> NOTIFY=NEVER ORCPT=rfc822;a+40b\r\n"
    b"BDAT 12\r\nFrom: a\r\n\r\n.BDAT 3\r\na\rbBDAT 4 LAST\r\n\n\r\n.MAIL FROM:<c@d>\r\nBDAT 9\r\nRSET\r\n..QUIT\r\n"
)
_POP3 = (
    b"USER joe\r\nPASS x y\r\nAPOP joe 1\r\nSTAT\r\nLIST\r\nUIDL 2\r\n"
    b"TOP 1 2\r\nRETR 2\r\nDELE 1\r\nRSET\r\nLAST\r\nQUIT\r\n"
)
_ENVELOPE = Envelope(b"a@b", [b"c@d", b"e@f"]).render()
_INNER = netstring(b"From: a\n\nx\n") + netstring(b"a@b") + netstring(b"c@d") + netstring(b"e@f")


def _cdb() -> bytes:
    folder = tempfile.mkdtemp()
    path = f"{folder}/cdb"
    lines = [b"=joe:joe:1:2:/home/joe:::\n", b"+joe-:joe:1:2:/home/joe:-::\n", b"+:alias:3:4:/alias:-::\n", b".\n"]
    write_cdb(path, f"{folder}/tmp", [*database_records(lines), (b"127.", b"D\0"), (b"", b"+X=y\0")])
    with open(path, "rb") as file:
        data = file.read()
    os.unlink(path)
    os.rmdir(folder)
    return data


def _journal() -> bytes:
    front, crc = journal.header(7, 8)
    record, crc = journal.record(journal.RECORD, 8, 2, 3, 4, 5, b"Fa\0Tb\0", b"text", crc)
    return front + record + b"text" + journal.tombstones([8], crc)[0]


def seeds() -> dict[str, list[bytes]]:
    """The inputs by target; a leading byte is the length of the pieces where the target splits its input."""
    return {
        "smtp_server": [b"\0" + _SMTP, b"\5" + _SMTP, b"\2" + _CHUNKS, b"\7" + _CHUNKS * 2],
        "bdat": [b"\0" + b"4\r\n\r\nxyBDAT 0 LAST\r\nQUIT\r\n", b"\3" + b"8 LAST\r\n\r\n\r\n.\r\n\0NOOP\r\n" + _CHUNKS],
        "auth": [b"YQ==\nYg==", b"AGEAYg==", b"\nYSBi", b"*", b""],
        "qmtp": [b"\3" + netstring(b"\nFrom: a\n\nx\n") + netstring(b"a@b") + netstring(netstring(b"c@d")) * 2],
        "qmqp": [b"\1" + netstring(_INNER)],
        "pop3": [b"\2" + _POP3, b"\4" + _POP3[20:]],
        "pop3_text": [b"\2" + _MESSAGE.replace(b"\r", b"")],
        "dotted": [b"\1" + _MESSAGE + b".\r\nQUIT\r\n", b"\2.\r\n"],
        "dot_stuffing": [b"\2" + _MESSAGE.replace(b"\r", b"")],
        "smtp_reply": [b"\3220-a\r\n220 b\r\n250-x\n250 y\n5\r\n"],
        "plugin": [b"\2Hx: y\nSa=b\nPtext\nLM1\nA\n", b"\2E550 no"],
        "milter": [
            b"\2\0\0\0\15O\0\0\0\6\0\0\1\xff\0\0\0\0" + b"\0\0\0\1c" * 7 + b"\0\0\0\6hX\0yz\0\0\0\0\3bhi\0\0\0\1c",
            b"\3\0\0\0\15O\0\0\0\6\0\0\1\xff\0\0\0\0" + b"\0\0\0\1c" * 7 + _CHANGING_MILTER + b"\0\0\0\1c",
            b"\1\0\0\0\15O\0\0\0\2\0\0\0\77\0\0\0\2\0\0\0\1a\0\0\0\14y550 5.7.1 x",
        ],
        "spawn_wire": [b"\0\0012/34\0a@b\0c@d\0\0023/3\0\0e\0"],
        "header": [b"\3" + _MESSAGE.replace(b"\r", b""), b"\3From a b\nX: y\n z\nno field\n"],
        "tcp_rules": [b'1.2.3.4-9:allow,X="y"\n::1:deny\n=.a.b:allow,R=//\n:deny\n', b"D\0+X=y\0", b"::1\0a.b.c\0joe"],
        "cdb": [_cdb()],
        "controls": [b"mail.example.org\n", b"20\n", b"a.b:c.d\n:e\n# x\n", b"10.0.0.0/8\n30s\n4h\n"],
        "address_list": [b'To: "a b" <c@d>, e (f) @g, h: i@j, <@k:l@m>;\n', b"Cc: a@[1.2] b\\@c ((d)e)\n f@g"],
        "queue_packets": [queue_wire.whole(1, _ENVELOPE, b"text"), queue_wire.result(1, 0, 2, 3, 4)],
        "delivery_packets": [b"D" + bytes(16) + b"\0a\0b\0", b"R" + bytes(9) + b"Kok", b"N" + bytes(40)],
        "journal_scan": [_journal()],
        "proxy_header": [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1025 25\r\nEHLO",
            b"PROXY TCP6 ::1 ::2 1 2\r\n",
            b"PROXY UNKNOWN\r\n",
            SIGNATURE + b"\x21\x11\0\x0f" + bytes(range(15)) + b"EHLO",
            SIGNATURE + b"\x20\0\0\0",
        ],
        "smtp_dsn": [
            b" RET=FULL ENVID=QQ+2B SMTPUTF8 BODY=8BITMIME",
            b" NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a+40b",
            b"U F E:id 0:sf:rfc822;a 2:n: l12::utf-8;\xc3\xb6@x",
        ],
        "smtp_path": [b"FROM:<a@b> SIZE=1 AUTH=<>", b'TO:<@x,@y:"a\\"b"@[::1]>', b"TO: a@b"],
        "small_formats": [
            b"u1\0p2\0Fa\0Tb\0",
            b"# x\n|prog\n./Maildir/\n&a@b\n+list\n",
            b"host:25 user pass",
            b"a\0b\0c\0",
        ],
    }
