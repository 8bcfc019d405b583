"""qmail-smtpd: serves one client on descriptors 0 and 1, or hands it over."""

import os
import sys

from eqmail_core.smtpd.handover_client import offer_client
from eqmail_core.system.linked import load_linked_from
from eqmail_core.system.log import redirect_to_syslog


def receive(checker: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Serve the client and return the exit code.  `checker`: argv of the checkpassword program."""
    redirect_to_syslog()
    code = offer_client(checker, environ)
    if code is None:
        # Imported here: a client that is handed over must not wait for the rest.
        folder, tag = os.path.dirname(__file__), sys.implementation.cache_tag
        load_linked_from(f"{folder}/server/__pycache__/stdio_server.{tag}.linked")
        from eqmail_core.smtpd.server.stdio_server import serve

        code = serve(checker, environ)
    return code
