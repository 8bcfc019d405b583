"""qmail-start [--smtp ADDRESS:PORT]... [defaultdelivery [logger [arg...]]]: start and keep all services.

Without --smtp or sockets from a service manager, smtplisten says where SMTP is served.  All code is loaded before the
services give up root, for they may be unable to read it later.  A second TERM kills what has not ended by then.
Exits: 0 after TERM, 100 usage, 111 cannot start.
"""

import os

from eqmail_core.supervisor.service_manager import service_manager
from eqmail_core.supervisor.service_process import NAME
from eqmail_core.supervisor.services import supervisor
from eqmail_core.supervisor.start import StartError
from eqmail_core.supervisor.supervisor import StartFailed
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import describe_error, log_line


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Run the services in the foreground until TERM."""
    words, addresses = argv[1:], []
    while len(words) > 1 and words[0] == b"--smtp":
        addresses.append(os.fsdecode(words[1]))
        words = words[2:]
    if words and words[0].startswith(b"--"):
        log_line(NAME, "usage: qmail-start [--smtp ADDRESS:PORT]... [defaultdelivery [logger [arg...]]]")
        return 100
    manager = service_manager(os.environb)
    try:
        site = read_site(environ)
        supervisor(site, environ, addresses, words, manager).run()
    except (StartError, StartFailed) as reason:
        log_line(NAME, f"fatal: {reason}")
        return manager.failed(111)
    except (ValueError, OSError, ImportError) as reason:
        log_line(NAME, b"fatal: " + describe_error(reason))
        return manager.failed(111)
    return 0
