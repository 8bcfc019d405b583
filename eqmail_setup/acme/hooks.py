"""Programs that other ACME clients run after a renewal.

Fails: EqmailError.
"""

import os
import shlex
import sys

from eqmail_core.site.site import Site
from eqmail_core.system.files import write_atomically
from eqmail_setup.errors import EqmailError

CERTBOT_HOOKS = "/etc/letsencrypt/renewal-hooks/deploy"


def certbot_hook(site: Site) -> tuple[str, bytes]:
    """Return path and text of the program that certbot runs for each renewed certificate."""
    command = f"{shlex.quote(sys.executable)} -m eqmail_setup --home {shlex.quote(site.home)} cert install"
    text = f"""#!/bin/sh
# certbot runs this after each renewal. Only the certificate of the mail server is for it.
case " $RENEWED_DOMAINS " in
*" $(head -n 1 {shlex.quote(site.control)}/me) "*)
    exec {command} "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" --yes
esac
"""
    return f"{CERTBOT_HOOKS}/eqmail", text.encode()


def install_hook(path: str, text: bytes) -> None:
    """Write the program where certbot looks for it."""
    if not os.path.isdir(os.path.dirname(path)):
        raise EqmailError(f"{os.path.dirname(path)}: missing; install certbot first")
    try:
        write_atomically(path, text, 0o755)
    except OSError as error:
        raise EqmailError(f"{path}: {error.strerror}") from error
