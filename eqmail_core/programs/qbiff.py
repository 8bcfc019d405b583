"""qbiff: notify the user's terminals of a new message, from a .qmail file.

Needs USER, SENDER and LOCAL.  Exits: 0, always.  Source: delivery.md 5.9; qbiff(1).
"""

import os
import stat

from eqmail_core.mail.preview import arrival_notice
from eqmail_core.outcome import EXIT_DONE
from eqmail_core.system.files import read_file, write_all
from eqmail_core.system.message_input import read_header
from eqmail_core.tools.terminals import terminals_of

SESSIONS = "/var/run/utmp"


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Write two lines to every terminal of the user that wants them (biff y: the owner may execute it)."""
    if not all(name in environ for name in (b"USER", b"SENDER", b"LOCAL")):
        return EXIT_DONE
    try:
        reader = read_header(0)
        sessions = read_file(SESSIONS) or b""
    except OSError:
        return EXIT_DONE
    text = arrival_notice(environ[b"SENDER"], environ[b"LOCAL"], reader.fields, reader.body)
    for terminal in terminals_of(environ[b"USER"], sessions):
        try:
            tell(b"/dev/" + terminal, text)
        except OSError:
            continue
    return EXIT_DONE


def tell(path: bytes, text: bytes) -> None:
    """Write to a terminal if it is ours and wants it.  Fails: OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if status.st_mode & stat.S_IXUSR and status.st_uid == os.getuid():
            write_all(fd, text)
    finally:
        os.close(fd)
