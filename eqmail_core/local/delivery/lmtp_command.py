"""Program lines of a .qmail file that hand mail to an LMTP server: which they are, and what their words come to.

    |qmail-lmtp unix:/run/dovecot/lmtp "$USER"

is a program as any other, for every qmail's qmail-local; where it is as plain as this, ours does the program's work
itself and starts nothing.  Plain are words of harmless letters, and words in double quotes in which variables stand
for themselves: there the shell would do nothing else than we do.  Everything else is the shell's.

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
"""A longer line is not plain."""


def lmtp_words(command: bytes, program: bytes, environ: "Mapping[bytes, bytes]") -> list[bytes] | None:
    """The arguments of a command that is a plain qmail-lmtp, by its name or as `program`; None for all others."""
    words = command.split(maxsplit=1) if len(command) <= MAX_BYTES else []
    if not words or words[0] not in (PROGRAM, program):
        return None
    arguments = []
    rest = words[1] if len(words) > 1 else b""
    while rest:
        found = _WORD.match(rest)
        if found is None or rest[found.end() :][:1] not in (b"", b" ", b"\t"):
            return None
        arguments.append(found[1] or _VARIABLE.sub(lambda it: environ.get(it[1] or it[2], b""), found[2]))
        rest = rest[found.end() :].lstrip(b" \t")
    return arguments


class Server:
    """Where an LMTP server listens: at `path`, or where there is none at `port` of `host`; `name` is for reports."""

    __slots__ = ("host", "name", "path", "port")

    def __init__(self, name: bytes, path: bytes, host: bytes = b"", port: int = 0) -> None:
        self.name = name
        self.path = path
        self.host = host
        self.port = port


DEFAULT_PORT = 24


def server_of(word: bytes) -> Server | None:
    """Read unix:/PATH, /PATH, HOST, HOST:PORT or [ADDRESS]:PORT; None for anything else."""
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
