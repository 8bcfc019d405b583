"""maildirwatch: show the new messages of the Maildir $MAILDIR on the terminal, again and again.

Exits: 111 in trouble; else it never ends.  Source: delivery.md 5.9; maildirwatch(1).
"""

import os
import time

from eqmail_core.mail.preview import listing_entry
from eqmail_core.mailbox.maildir_reader import enter_maildir, messages_in, sweep_tmp
from eqmail_core.outcome import Failure
from eqmail_core.system.files import write_all
from eqmail_core.system.log import fatal
from eqmail_core.system.message_input import read_header

CLEAR = b"\033[;H\033[;J"
PAUSE_S = 30


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Look every 30 seconds."""
    try:
        enter_maildir(environ)
        while True:
            write_all(1, CLEAR + screen(time.time()))
            time.sleep(PAUSE_S)
    except Failure as failure:
        return fatal("maildirwatch", failure.text)
    except OSError:
        return fatal("maildirwatch", "trouble reading new message")


def screen(now: float) -> bytes:
    """The new messages, oldest first; those that vanish meanwhile are left out."""
    sweep_tmp(now)
    shown = []
    for _, path in messages_in((b"new",), now):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            reader = read_header(fd)
        finally:
            os.close(fd)
        shown.append(listing_entry(reader.fields, reader.body))
    return b"".join(shown)
