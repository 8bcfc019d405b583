"""qmail-remote: send one message by SMTP; a report on descriptor 1, always exit code 0.

Usage: qmail-remote HOST SENDER RECIPIENT...

Source: delivery.md 5.6; qmail-remote(8).
"""

import os

from eqmail_core.outcome import TemporaryFailure
from eqmail_core.remote.qmail_remote import deliver_once, message_report
from eqmail_core.system.files import write_all
from eqmail_core.system.installation import read_controls, read_site


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Deliver, and print the report."""
    site = read_site(environ)
    try:
        os.chdir(site.home)
    except OSError:
        report = message_report(TemporaryFailure(b"Unable to switch to home directory. (#4.3.0)"))
    else:
        report = deliver_once(site, read_controls(site), argv[1:])
    write_all(1, report)
    return 0
