"""qmail-lmtp [-rd] unix:/path|host[:port] [recipient]: give the message on descriptor 0 to a mailbox store by LMTP.

For .qmail files and the default delivery, as in |qmail-lmtp unix:/run/dovecot/lmtp "$USER"; the recipient is RECIPIENT
where none is named, the sender SENDER.  The lines RPLINE and DTLINE go before the message; -r and -d leave them out.
helohost, timeoutconnect and timeoutremote hold for it.  Exits: 0 the store has it, 100 it refuses, 111 try later.
Source: RFC 2033.
"""

import os

from eqmail_core.local.delivery.lmtp import deliver_by_lmtp
from eqmail_core.outcome import EXIT_DONE, Failure
from eqmail_core.system.files import CHUNK, write_all
from eqmail_core.system.installation import read_site


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Deliver; what the store says, or what went wrong, goes to descriptor 1."""
    pieces = iter(lambda: os.read(0, CHUNK), b"")
    try:
        text, code = deliver_by_lmtp(read_site(environ), argv[1:], environ, pieces), EXIT_DONE
    except Failure as failure:
        text, code = failure.text + b"\n", failure.exit_code
    write_all(1, text)
    return code
