"""Recognizes program lines of a .qmail file that deliver to an LMTP server.

    |qmail-lmtp unix:/run/dovecot/lmtp "$USER"

is a program like any other for the qmail-local of every qmail.  If the line is plain, eQmail's qmail-local does the
work of the program itself and starts no process.  Plain words consist of harmless characters, or of double quotes with
variables inside.  For such words the shell would do nothing else.  Every other line goes to the shell.

Source: sh(1), "Quoting"; RFC 2033.
"""

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = b"qmail-lmtp"

_PLAIN = rb"[A-Za-z0-9@%_+=:,./-]+"
_NAME = rb"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})"
_WORD = re.compile(rb"(%b)|\"((?:[A-Za-z0-9@%%_+=:,./ \[\]-]|%b)*)\"" % (_PLAIN, _NAME))
_VARIABLE = re.compile(_NAME)


MAX_BYTES = 4096
"""A longer line, in bytes, is not plain."""


def lmtp_words(command: bytes, program: bytes, environ: "Mapping[bytes, bytes]") -> list[bytes] | None:
    """The arguments of a plain qmail-lmtp command, named so or as `program`; None for others."""
    words = command.split(maxsplit=1) if len(command) <= MAX_BYTES else []
    if not words or words[0] not in (PROGRAM, program):
        return None
    arguments = []
    rest = words[1] if len(words) > 1 else b""
    while rest:
        found = _WORD.match(rest)
        if found is None or rest[found.end() :][:1] not in (b"", b" ", b"\t"):
            return None
        arguments.append(found[1] or _VARIABLE.sub(lambda item: environ.get(item[1] or item[2], b""), found[2]))
        rest = rest[found.end() :].lstrip(b" \t")
    return arguments


class Server:
    """The address of an LMTP server: `path`, or without one `port` of `host`.

    `name` is used in reports.
    """

    __slots__ = ("host", "name", "path", "port")

    def __init__(self, name: bytes, path: bytes, host: bytes = b"", port: int = 0) -> None:
        self.name = name
        self.path = path
        self.host = host
        self.port = port


DEFAULT_PORT = 24


def server_of(word: bytes) -> Server | None:
    """Parse unix:/PATH, /PATH, HOST, HOST:PORT or [ADDRESS]:PORT; None for anything else."""
    path = word.removeprefix(b"unix:")
    if path[:1] == b"/":
        return Server(path, path)
    if word.startswith(b"unix:"):
        return None
    host, colon, digits = word.rpartition(b":")
    if not colon or digits[-1:] == b"]":
        host, digits = word, b"%d" % DEFAULT_PORT
    bare = host[1:-1] if host[:1] == b"[" and host[-1:] == b"]" else host
    if (
        not bare
        or not digits.isdigit()
        or len(digits) > 5
        or not 0 < int(digits) < 65536
        or (bare == host and b":" in host)
    ):
        return None
    return Server(word, b"", bare, int(digits))
