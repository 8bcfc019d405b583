"""One message never becomes two: only CRLF . CRLF ends a message, however peers read other line ends.

Source: RFC 5321 section 4.1.1.4; "SMTP smuggling" (CVE-2023-51764 and its family).
"""

import itertools
import socket
from collections.abc import Iterator

import pytest

from tests.support.smtp_servers import Home, Resident, blocking_server

BEGIN = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<j@ours.test>\r\n"
SECOND = b"MAIL FROM:<smuggled@evil.test>\r\nRCPT TO:<j@ours.test>\r\nDATA\r\nSubject: smuggled\r\n\r\ny"
END = b"\r\n.\r\n"
RESET = b"<reset>"
BREAKS = (
    b"\n",
    b"\r",
    b"\r\n",
    b"\r\r\n",
    b"\0\r\n",
    b"\r\n\0",
    b"\r\0\n",
    b"\n\r",
    b"\v",
    b"\f",
    b"\x85",
    b"\xe2\x80\xa8",
)
# Every line break that some server accepts, before and after the dot, except the right one.
ENDS = [
    before + dot + after
    for before, dot, after in itertools.product(BREAKS, (b".", b"..", b"\0.", b" .", b". "), BREAKS)
]
ENDS = [end for end in ENDS if END not in end]


def everything(client: socket.socket) -> bytes:
    """The remaining replies; RESET if the server closed with unread input."""
    replies = b""
    try:
        while piece := client.recv(4096):
            replies += piece
    except (ConnectionResetError, BrokenPipeError):
        return RESET
    return replies


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("smuggling") / "home", chunking="1")


StartCommand = tuple[bytes, list[tuple[bytes, bytes]]]
"""The replies, and envelope and text of each queued message."""


def tell(server: Resident | Home, pieces: list[bytes]) -> StartCommand:
    """Say this in pieces, with a pause for an answer between them, to either driver."""
    if isinstance(server, Home):
        with blocking_server(server) as (client, _):
            replies = converse(client, pieces)
        queued = [(envelope, message) for envelope, message in server.queued() if envelope]
        for path in server.got.iterdir():
            path.unlink()
        return replies, queued
    with server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        replies = converse(client, pieces)
    queued = list(server.queue.messages)
    server.queue.messages.clear()
    return replies, queued


def converse(client: socket.socket, pieces: list[bytes]) -> bytes:
    replies = b""
    for piece in pieces:
        try:
            client.sendall(piece)
        except (ConnectionResetError, BrokenPipeError):
            return RESET
        if piece is not pieces[-1]:
            replies += client.recv(4096)
    return replies + everything(client)


def check_one(replies: bytes, queued: list[tuple[bytes, bytes]]) -> None:
    """The message was refused as a whole, or is one, with all of the other within."""
    if replies.endswith(
        (
            RESET,
            b"\r\n451 a line of the message ends in LF alone, and not in CRLF; see RFC 5321 section 2.3.8 (#4.5.2)\r\n",
        )
    ):
        assert not queued
        return
    ((envelope, message),) = queued
    assert envelope == b"Fa@b\0Tj@ours.test\0\0"
    assert b"smuggled@evil.test" in message
    assert replies.count(b"\r\n250 ok ") == 1 and replies.count(b"\r\n354 ") <= 1
    assert replies.endswith(b"221 mx.test\r\n")


@pytest.fixture(scope="module", params=["waiting", "resident"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resident | Home]:
    home = Home(tmp_path_factory.mktemp("smuggling") / "home", chunking="1")
    if request.param == "waiting":
        yield home
    else:
        with Resident(home) as resident:
            yield resident


def test_no_ambiguous_end_of_data_smuggles_a_message(server: Resident | Home) -> None:
    for end in ENDS[:: 7 if isinstance(server, Home) else 1]:
        check_one(*tell(server, [BEGIN + b"DATA\r\nSubject: t\r\n\r\nx" + end + SECOND + END + b"QUIT\r\n"]))


@pytest.mark.parametrize("end", [b"\n.\r\n", b"\r\n.\n", b"\n.\n", b"\r\n.\r", b"\r.\r", b"\r\n\0.\r\n", END])
def test_no_ambiguous_end_within_a_chunk_smuggles_a_message(end: bytes, server: Resident | Home) -> None:
    text = b"Subject: t\r\n\r\nx" + end + SECOND + b"\r\n"
    check_one(*tell(server, [BEGIN + b"BDAT %d LAST\r\n%bQUIT\r\n" % (len(text), text)]))


@pytest.mark.parametrize("end", [b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\r\n\0.\r\n"])
def test_no_fragmentation_smuggles_a_message(end: bytes, server: Resident | Home) -> None:
    """In two pieces, cut anywhere round the end."""
    client_data = BEGIN + b"DATA\r\nSubject: t\r\n\r\nx" + end + SECOND + END + b"QUIT\r\n"
    start = client_data.index(end + b"MAIL")
    for cut in range(start, start + len(end) + 1):
        check_one(*tell(server, [client_data[:cut], client_data[cut:]]))


def test_a_refused_body_is_not_obeyed(server: Resident | Home) -> None:
    """A chunk that is sent as if there were a recipient."""
    text = SECOND + END
    replies, queued = tell(
        server, [BEGIN.replace(b"ours", b"theirs") + b"BDAT %d LAST\r\n%bQUIT\r\n" % (len(text), text)]
    )
    assert not queued and b"\r\n354" not in replies
    assert replies.endswith(b"221 mx.test\r\n")
