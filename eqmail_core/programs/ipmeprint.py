"""ipmeprint: print the addresses of this host, one a line.

Exits: 0.  Source: programs.md 1.3 (ipmeprint.c).
"""

from eqmail_core.outcome import EXIT_DONE
from eqmail_core.system.files import write_all
from eqmail_core.system.own_addresses import own_addresses


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Print them, IPv4 first."""
    addresses = sorted(own_addresses(), key=lambda address: (":" in address, address))
    write_all(1, "".join(f"{address}\n" for address in addresses).encode())
    return EXIT_DONE
