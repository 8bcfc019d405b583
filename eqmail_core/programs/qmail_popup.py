"""qmail-popup hostname subprogram [arg...]: learn who a POP3 client is, on descriptors 0 and 1.

The subprogram is a checkpassword program, with user, password and timestamp on descriptor 3, and its arguments name
who serves the client then: qmail-popup mail.example.org checkpassword qmail-pop3d Maildir
STLS is offered where control/servercert.pem can be read. With TLSREQUIRED=1 no password is taken without TLS.
Exits: 1.  Source: smtp-server.md 4.12; qmail-popup(8); RFC 2595.
"""

from eqmail_core.pop3.protocol import refusal
from eqmail_core.pop3.server import authenticate
from eqmail_core.pop3.tls_settings import find_tls
from eqmail_core.system.files import write_all
from eqmail_core.system.log import redirect_to_syslog


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Serve one client until it is known, and wait while others serve it."""
    redirect_to_syslog()
    if len(argv) < 3:
        write_all(1, refusal(b"usage: popup hostname subprogram"))
    else:
        authenticate(argv[1], argv[2:], environ, find_tls(environ), environ.get(b"TLSREQUIRED") == b"1")
    return 1
