"""Which program lines are done without a shell: those in which a shell would find nothing to do either."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.local.delivery.lmtp_command import lmtp_words, server_of

OURS = b"/var/qmail/bin/qmail-lmtp"
ENVIRON = {b"USER": b"joe", b"EXT": b"a b;$(c)`d`\"'", b"HOST": b"h.test"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"qmail-lmtp /run/lmtp", [b"/run/lmtp"]),
        (b"  qmail-lmtp\t-rd unix:/run/lmtp ", [b"-rd", b"unix:/run/lmtp"]),
        (OURS + b' "[::1]:24" joe+box@h', [b"[::1]:24", b"joe+box@h"]),
        (b'qmail-lmtp h "$USER"', [b"h", b"joe"]),
        (b'qmail-lmtp h "${EXT}@$HOST"', [b"h", b"a b;$(c)`d`\"'@h.test"]),
        (b'qmail-lmtp h "$NOBODY"', [b"h", b""]),
        (b"qmail-lmtp", []),
        (b"/elsewhere/qmail-lmtp h", None),
        (b"qmail-lmtp2 h", None),
        (b"qmail-lmtp h $USER", None),
        (b"qmail-lmtp h 'x'", None),
        (b'qmail-lmtp h "$(id)"', None),
        (b'qmail-lmtp h "a"b', None),
        (b"qmail-lmtp h; rm x", None),
        (b"qmail-lmtp h | cat", None),
        (b"qmail-lmtp h >x", None),
        (b"qmail-lmtp ~/lmtp", None),
        (b"qmail-lmtp [::1]", None),
        (b"preline qmail-lmtp h", None),
        (b"qmail-lmtp" + b" a" * 3000, None),
        (b"", None),
    ],
)
def test_plain_lines(line: bytes, words: list[bytes] | None) -> None:
    assert lmtp_words(line, OURS, ENVIRON) == words


@given(st.text(alphabet="ab $\"'{}\\@:/._-[]USER*", max_size=25))
def test_whatever_is_taken_for_plain_means_the_same_to_the_shell(text: str) -> None:
    line = b"qmail-lmtp " + text.encode()
    words = lmtp_words(line, OURS, ENVIRON)
    if words is None:
        return
    script = 'show() { for word; do printf "%s\\0" "$word"; done; }\n' + f"show {text}"
    run = subprocess.run(
        ["/bin/sh", "-c", script], env=ENVIRON, cwd="/proc/self/fdinfo", capture_output=True, check=True
    )
    assert run.stdout.split(b"\0")[:-1] == words


@pytest.mark.parametrize(
    ("word", "found"),
    [
        (b"unix:/run/lmtp", (b"/run/lmtp", b"", 0)),
        (b"/run/lmtp", (b"/run/lmtp", b"", 0)),
        (b"mail.test", (b"", b"mail.test", 24)),
        (b"mail.test:2424", (b"", b"mail.test", 2424)),
        (b"[::1]", (b"", b"::1", 24)),
        (b"[::1]:2424", (b"", b"::1", 2424)),
        (b"unix:run/lmtp", None),
        (b"::1", None),
        (b"h:", None),
        (b":24", None),
        (b"h:70000", None),
        (b"h:x", None),
        (b"h:" + b"9" * 5000, None),
        (b"", None),
    ],
)
def test_servers(word: bytes, found: tuple[bytes, bytes, int] | None) -> None:
    server = server_of(word)
    assert (server and (server.path, server.host, server.port)) == found
