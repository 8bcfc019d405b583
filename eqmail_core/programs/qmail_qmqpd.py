"""qmail-qmqpd: receive one message from one QMQP client on descriptors 0 and 1, for anywhere.

Access control is the task of another program (tcprules).
Exits: 0 when the client has its answer or has gone, 100 when it does not speak QMQP, 111 trouble or too long.
Source: smtp-server.md 4.11; qmail-qmqpd(8).
"""

import os

from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.qmtp.server import QmtpServer
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import redirect_to_syslog


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Serve one client."""
    redirect_to_syslog()
    try:
        site = read_site(environ)
        os.chdir(site.home)
    except (OSError, ValueError):
        return EXIT_TEMPORARY
    return QmtpServer(site, environ).run_qmqp()
