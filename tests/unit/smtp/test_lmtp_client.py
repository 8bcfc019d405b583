"""The LMTP machine against scripts of a server: LHLO, one reply for each recipient, and what is reported."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.remote.report import report_of_output
from eqmail_core.smtp.exchange import CONTENT, DONE, WAITING
from eqmail_core.smtp.lmtp_client import LmtpClient

LHLO = (b"220 hi\r\n", b"250-x\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
ENVELOPE = b"250 s\r\n250 r\r\n354 go\r\n"


def talk(*pieces: bytes, recipients: int = 1) -> tuple[LmtpClient, bytes]:
    client = LmtpClient(b"/run/lmtp", b"me.test")
    client.begin(b"s@x", [b"r%d@y" % number for number in range(recipients)])
    sent_data = b""
    for piece in pieces:
        client.receive(piece)
        while client.status == CONTENT:
            client.supply(b"Subject: x\n\n.body\n")
            client.supply(b"")
        sent_data += client.take_output()
    return client, sent_data


def test_a_single_recipient_delivery() -> None:
    client, sent_data = talk(*LHLO, ENVELOPE, b"250 2.0.0 <r0@y> saved\r\n")
    assert sent_data == (
        b"LHLO me.test\r\nMAIL FROM:<s@x>\r\nRCPT TO:<r0@y>\r\nDATA\r\nSubject: x\r\n\r\n..body\r\n.\r\nQUIT\r\n"
    )
    assert client.report == b"r\0K/run/lmtp accepted message.\nRemote host said: 250 2.0.0 <r0@y> saved\n\0"


def test_each_recipient_has_its_own_end() -> None:
    client, _ = talk(
        *LHLO,
        b"250 s\r\n250 a\r\n550 b\r\n250 c\r\n250 d\r\n354 go\r\n",
        b"250 a in\r\n452 c full\r\n",
        recipients=4,
    )
    assert client.status == WAITING
    client.receive(b"552 d too large\r\n")
    assert client.report == (
        b"r\0"
        b"h/run/lmtp does not like recipient.\nRemote host said: 550 b\n\0"
        b"s/run/lmtp failed after I sent the message.\nRemote host said: 452 c full\n\0"
        b"h/run/lmtp failed after I sent the message.\nRemote host said: 552 d too large\n\0"
        b"K/run/lmtp accepted message.\nRemote host said: 250 a in\n\0"
    )


@pytest.mark.parametrize(
    ("last", "letter"),
    [
        (b"250 ok", b"K"),
        (b"451 later", b"Z"),
        (b"552 full", b"D"),
        (b"what?", b"Z"),
        (b"354 go", b"Z"),
        (b"150 x", b"Z"),
    ],
)
def test_the_last_reply_decides_for_a_single_recipient(last: bytes, letter: bytes) -> None:
    client, _ = talk(*LHLO, ENVELOPE, last + b"\r\n")
    result = report_of_output(client.report)
    found, text = result.outcome, result.text
    assert (found, client.status) == (letter, DONE)
    assert last in text


def test_replies_out_of_order_count_for_no_recipient() -> None:
    client, _ = talk(
        *LHLO, b"250 s\r\n250 a\r\n250 b\r\n250 c\r\n354 go\r\n", b"250 a in\r\n354 go\r\n550 c\r\n", recipients=3
    )
    again = b"s/run/lmtp failed after I sent the message.\nRemote host said: 354 go\n\0"
    assert client.report == b"r\0" + again * 2 + b"K/run/lmtp accepted message.\nRemote host said: 250 a in\n\0"
    assert not client.is_reusable


def test_an_smtp_server_is_not_taken_for_lmtp() -> None:
    client, sent_data = talk(b"220 hi\r\n", b"500 what is LHLO?\r\n")
    assert sent_data == b"LHLO me.test\r\nQUIT\r\n"
    assert client.report == (
        b"ZConnected to /run/lmtp but my name was rejected.\nRemote host said: 500 what is LHLO?\n\0"
    )


@given(st.lists(st.sampled_from([b"2", b"4", b"5"]), min_size=1, max_size=6), st.data())
def test_every_recipient_is_reported_however_the_bytes_come(codes: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(code + b"50-x\r\n" + code + b"50 y\r\n" for code in codes)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    client, _ = talk(
        *LHLO,
        b"250 s\r\n" + b"250 r\r\n" * len(codes) + b"354 go\r\n",
        *(stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)),
        recipients=len(codes),
    )
    letters = b"".join(report[:1] for report in client.report.split(b"\0"))
    wanted = b"".join({b"2": b"r", b"4": b"s", b"5": b"h"}[code] for code in codes)
    assert letters == wanted + (b"K" if b"2" in codes else b"D")


def test_a_connection_that_dies_before_the_last_reply_leaves_the_message_waiting() -> None:
    client, _ = talk(*LHLO, ENVELOPE)
    client.lost()
    assert report_of_output(client.report).outcome == b"Z"
