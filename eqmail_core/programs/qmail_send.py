"""qmail-send: decide what is delivered when, on the descriptors that qmail-start or an older parent prepared.

Exits: 0 after TERM, 111 cannot start.  Source: programs.md 1.1, 1.4; qmail-send(8).
"""

from eqmail_core.scheduler import classic
from eqmail_core.system.installation import read_site


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Work until TERM."""
    return classic.run(read_site(environ), environ)
