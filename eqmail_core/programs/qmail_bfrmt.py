"""qmail-bfrmt host sender recipient ...: run what control file beforemote says in place of qmail-remote.

Exits as that does, or 111.  Source: control-files.md "beforemote".
"""

from eqmail_core.control.controls import Controls
from eqmail_core.remote.before import run_before
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import fatal
from eqmail_core.text.error_text import error_text


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Become it; with the message on descriptor 0 and the report on descriptor 1."""
    try:
        return run_before(read_site(environ), environ, argv, Controls.beforemote.file, "qmail-remote")
    except OSError as error:
        return fatal("qmail-bfrmt", b"unable to run qmail-remote: " + error_text(error.errno))
