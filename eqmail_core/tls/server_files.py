"""Where an installation keeps the files of its TLS servers.

Source: smtp-server.md 4.7.
"""

import os

from eqmail_core.control.controls import Controls
from eqmail_core.control.folders import TLS_CERTIFICATES
from eqmail_core.site.site import Site
from eqmail_core.tls.session_info import ServerTlsFiles


def server_tls_files(site: Site, controls: Controls) -> ServerTlsFiles:
    """Return the paths and settings, whether the files exist or not."""
    folder = site.control
    authorities = f"{folder}/{Controls.clientca.file}"
    return ServerTlsFiles(
        certificate=f"{folder}/{Controls.servercert.file}",
        names=f"{folder}/{TLS_CERTIFICATES}",
        ciphers=controls.tlsserverciphers,
        authorities=authorities,
        revoked=f"{folder}/{Controls.clientcrl.file}",
        dh=f"{folder}/{Controls.dh2048.file}",
        asks_client=bool(controls.tlsclients) and os.path.exists(authorities),
    )
