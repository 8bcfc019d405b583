"""QMTP and QMQP read from a stream of bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.qmtp import protocol as qmtp
from eqmail_core.qmtp.protocol import BadFraming, NetstringTooLong, QmqpReader, QmtpReader, Reader
from eqmail_core.text.framing import netstring

Mail = tuple[bytes, bytes | None, list[bytes | None]]


def read(reader: Reader, pieces: list[bytes]) -> list[Mail]:
    """Every complete message."""
    mails: list[Mail] = []
    text, sender, recipients = b"", None, []
    for piece in pieces:
        reader.receive(piece)
        while (event := reader.next_event()) is not None:
            if event.kind == qmtp.BEGIN:
                text, sender, recipients = b"", None, []
            elif event.kind == qmtp.TEXT:
                text += event.value or b""
            elif event.kind == qmtp.SENDER:
                sender = event.value
            elif event.kind == qmtp.RECIPIENT:
                recipients.append(event.value)
            elif event.kind == qmtp.END:
                mails.append((text, sender, recipients))
    return mails


def qmtp_bytes(message: bytes, sender: bytes, recipients: list[bytes]) -> bytes:
    return netstring(message) + netstring(sender) + netstring(b"".join(netstring(each) for each in recipients))


def qmqp_bytes(message: bytes, sender: bytes, recipients: list[bytes]) -> bytes:
    return netstring(b"".join(netstring(each) for each in (message, sender, *recipients)))


def drops(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


TEXTS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b"\0", b","]), max_size=12).map(b"".join)
ADDRESSES = st.binary(max_size=8)
UNUSABLE = frozenset(b"\0\r\n")


@given(TEXTS, ADDRESSES, st.lists(ADDRESSES, max_size=3), st.booleans())
def test_qmtp_survives_a_round_trip_in_any_fragmentation(
    text: bytes, sender: bytes, recipients: list[bytes], is_dos: bool
) -> None:
    data = qmtp_bytes((b"\r" if is_dos else b"\n") + text, sender, recipients)
    expected = text.replace(b"\r\n", b"\n") if is_dos else text
    usable = [None if UNUSABLE & set(each) else each for each in (sender, *recipients)]
    mail = (expected, usable[0], usable[1:])
    assert read(QmtpReader(), [data * 2]) == [mail, mail]
    assert read(QmtpReader(), drops(data)) == [mail]


@given(TEXTS, ADDRESSES, st.lists(ADDRESSES, max_size=3))
def test_qmqp_survives_a_round_trip_in_any_fragmentation(text: bytes, sender: bytes, recipients: list[bytes]) -> None:
    data = qmqp_bytes(text, sender, recipients)
    usable = [None if UNUSABLE & set(each) else each for each in (sender, *recipients)]
    assert read(QmqpReader(), [data]) == read(QmqpReader(), drops(data)) == [(text, usable[0], usable[1:])]


def test_a_long_address_is_read_and_not_kept() -> None:
    data = qmtp_bytes(b"\nx", b"s" * 1000, [b"r" * 100000, b"ok"])
    assert read(QmtpReader(), drops(data)) == [(b"x", None, [None, b"ok"])]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\0"])
def test_an_address_with_a_line_end_is_unusable(end: bytes) -> None:
    forged = b"a" + end + b"Bcc: x@y"
    assert read(QmtpReader(), [qmtp_bytes(b"\nx", forged, [b"r", forged])]) == [(b"x", None, [b"r", None])]
    assert read(QmqpReader(), [qmqp_bytes(b"x", forged, [b"r", forged])]) == [(b"x", None, [b"r", None])]


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"5:abc",
        b"0:,",
        b"3:\nab;",
        b"3:\nab,1:s,5:3:abc,,",
        b"3:\nab,1:s,4:9:a,,",
        b"3:\nab,-1:s,",
        b"3:\nab,1:s,0:x",
    ],
)
def test_bad_framing_is_noticed(data: bytes) -> None:
    with pytest.raises(BadFraming):
        read(QmtpReader(), drops(data))


@pytest.mark.parametrize("data", [b"3:1:x,,", b"9:2:x\n,1:s,x", b"5:9:abcdefghi", b"x"])
def test_bad_framing_of_qmqp_is_noticed(data: bytes) -> None:
    with pytest.raises(BadFraming):
        read(QmqpReader(), [data])


def test_a_qmqp_client_that_disconnects_mid_message_is_no_protocol_error() -> None:
    reader = QmqpReader()
    assert read(reader, [b"5:abc"]) == []
    with pytest.raises(BadFraming):
        read(reader, [b"de"])


def test_a_gigantic_netstring_is_refused_at_once() -> None:
    with pytest.raises(NetstringTooLong):
        read(QmtpReader(), [b"200000001:"])
