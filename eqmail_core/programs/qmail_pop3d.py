"""qmail-pop3d maildir: show the messages of a Maildir to a POP3 client that is known, on descriptors 0 and 1.

Exits: 0.  Source: smtp-server.md 4.12; qmail-pop3d(8).
"""

from eqmail_core.pop3.protocol import NO_MAILDIR, refusal
from eqmail_core.pop3.server import serve_maildir
from eqmail_core.system.files import write_all
from eqmail_core.system.log import redirect_to_syslog


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Serve one client."""
    redirect_to_syslog()
    if len(argv) < 2:
        write_all(1, refusal(NO_MAILDIR))
    else:
        serve_maildir(argv[1])
    return 0
