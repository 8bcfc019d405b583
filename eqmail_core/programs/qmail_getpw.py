"""qmail-getpw LOCAL: print the six fields of the account that gets mail for a local part, each ended by NUL.

Exits: 0, 100 usage, 111 cannot write, and the codes of `values.user`.  Source: delivery.md 5.2; qmail-getpw(8).
"""

from eqmail_core.outcome import EXIT_PERMANENT
from eqmail_core.system.files import write_all
from eqmail_core.system.installation import read_site
from eqmail_core.text.framing import join
from eqmail_core.users.getpw import find_among_accounts, find_in_single_user_site
from eqmail_core.users.user import LookupFailed


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Look the account up."""
    if len(argv) < 2:
        return EXIT_PERMANENT
    site = read_site(environ)
    find = find_in_single_user_site if site.single_user else find_among_accounts
    try:
        user = find(site, argv[1])
    except LookupFailed as failure:
        return failure.code
    write_all(1, join(*user.fields()))
    return 0
