"""qmail-start [--smtp ADDRESS:PORT]... [defaultdelivery [logger [arg...]]]: start and keep all services.

Without --smtp or sockets from a service manager, smtplisten says where SMTP is served.  All code is loaded before the
services give up root, for they may be unable to read it later.  Exits: 0 after TERM, 100 usage, 111 cannot start.
"""

import os

from eqmail_core.services import start
from eqmail_core.services.staff import staff
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import in_words, say
from eqmail_core.system.notify import herald


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Run the services in the foreground until TERM."""
    words, addresses = argv[1:], []
    while len(words) > 1 and words[0] == b"--smtp":
        addresses.append(os.fsdecode(words[1]))
        words = words[2:]
    if words and words[0].startswith(b"--"):
        say(start.NAME, "usage: qmail-start [--smtp ADDRESS:PORT]... [defaultdelivery [logger [arg...]]]")
        return 100
    try:
        site = read_site(environ)
        start.supervise(staff(site, environ, addresses, words), herald(os.environb))
    except (start.CannotStart, ValueError, OSError, ImportError) as reason:
        say(start.NAME, f"fatal: {reason}" if isinstance(reason, start.CannotStart) else b"fatal: " + in_words(reason))
        return herald(os.environb).failed(111)
    return 0
