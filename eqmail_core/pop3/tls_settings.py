"""Whether qmail-popup can begin TLS, and with what: the key files of the installation.

The account of the SMTP service is that of the process that speaks TLS.
"""

import os

from eqmail_core.control.controls import Controls
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls, read_site
from eqmail_core.system.log import log_line
from eqmail_core.system.privileges import assume_role

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eqmail_core.pop3.tls_session import TlsLogin

TIMEOUT_S = 1200
"""Time limit of each read and write, in seconds."""


def find_tls(environ: "Mapping[bytes, bytes]") -> "Callable[[], TlsLogin] | None":
    """Return what begins TLS; None without a certificate that can be read."""
    try:
        site = read_site(environ)
    except (OSError, ValueError) as error:
        _log(str(error).encode("utf-8", "replace"))
        return None
    if not os.access(f"{site.control}/{Controls.servercert.file}", os.R_OK):
        return None
    return lambda: _make(site)


def _make(site: Site) -> "TlsLogin":
    # Imported here: most of what it needs is for sessions with TLS only.
    from eqmail_core.pop3.tls_session import TlsLogin
    from eqmail_core.tls.server_files import server_tls_files

    def become_unprivileged() -> None:
        if os.geteuid() == 0:
            assume_role(site, "qmaild")

    return TlsLogin(server_tls_files(site, read_controls(site)), become_unprivileged, _log, TIMEOUT_S)


def _log(what: bytes) -> None:
    log_line("qmail-popup", b"alert: " + what)
