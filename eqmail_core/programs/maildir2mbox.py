"""maildir2mbox: move the messages of the Maildir $MAILDIR to the mbox file $MAIL, by way of $MAILTMP.

Exits: 0, 111.  Source: delivery.md 5.9; maildir2mbox(1).
"""

import os
import time

from eqmail_core.mailbox.maildir_reader import enter_maildir, messages_in, sweep_tmp
from eqmail_core.mailbox.maildir_to_mbox import move_to_mbox
from eqmail_core.outcome import EXIT_DONE, Failure
from eqmail_core.system.log import fatal, log_line


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Move what is there."""
    os.umask(0o077)
    for name in (b"MAIL", b"MAILTMP"):
        if name not in environ:
            return fatal("maildir2mbox", name + b" not set")
    try:
        enter_maildir(environ)
        now = time.time()
        sweep_tmp(now)
        messages = messages_in((b"new", b"cur"), now)
        left = move_to_mbox(messages, environ[b"MAIL"], environ[b"MAILTMP"]) if messages else []
    except Failure as failure:
        return fatal("maildir2mbox", failure.text)
    for path in left:
        log_line("maildir2mbox", b"warning: $MAILDIR/%b will be delivered twice; unable to unlink" % path)
    return EXIT_DONE
