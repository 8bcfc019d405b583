"""qmail-qmtpd: receive mail from one QMTP client on descriptors 0 and 1.

Exits: 0 when the client has gone, 100 when it does not speak QMTP, 111 trouble or too long.
Source: smtp-server.md 4.10; qmail-qmtpd(8).
"""

import os

from eqmail_core.access.morercpthosts import morercpthosts_lookup
from eqmail_core.access.rcpthosts import RcptHosts
from eqmail_core.control.setting import ControlError
from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.qmtp.server import QmtpServer
from eqmail_core.system.installation import read_controls, read_site
from eqmail_core.system.log import redirect_to_syslog


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Serve one client."""
    redirect_to_syslog()
    try:
        site = read_site(environ)
        os.chdir(site.home)
        controls = read_controls(site, environ)
        rcpthosts = RcptHosts(controls.rcpthosts, morercpthosts_lookup(site))
        limits = controls.databytes, controls.maxrcpt
    except (ControlError, OSError, ValueError):
        return EXIT_TEMPORARY
    return QmtpServer(site, environ).run_qmtp(rcpthosts, *limits)
