"""qmail-lspawn defaultdelivery: the local spawner for a classic qmail-send; orders on descriptor 0, reports on 1.

Exits: 0 when its input has ended and all is reported, 100 usage, 111 cannot start.  Source: qmail-lspawn(8).
"""

from eqmail_core.local.service import classic
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import describe_error, fatal


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Serve qmail-send until it goes."""
    if len(argv) < 2:
        return 100
    try:
        classic.run(read_site(environ), argv[1], environ)
    except KeyError as missing:
        return fatal("qmail-lspawn", f"no account: {missing.args[0]}")
    except (OSError, ValueError) as reason:
        return fatal("qmail-lspawn", describe_error(reason))
    return 0
