"""qmail-rspawn: the remote spawner for a classic qmail-send; orders on descriptor 0, reports on 1.

Exits: 0 when its input has ended and all is reported, 111 cannot start.  Source: qmail-rspawn(8).
"""

from eqmail_core.remote import classic
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import describe_error, fatal


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Serve qmail-send until it goes."""
    try:
        classic.run(read_site(environ), environ)
    except KeyError as missing:
        return fatal("qmail-rspawn", f"no account: {missing.args[0]}")
    except (OSError, ValueError) as reason:
        return fatal("qmail-rspawn", describe_error(reason))
    return 0
