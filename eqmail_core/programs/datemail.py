"""datemail: sendmail, with a Date field in the local time zone before the message.

Exits with sendmail's code, or 111.  Source: delivery.md 5.8; datemail(1).
"""

import os
import time

from eqmail_core.mail.dates import date822
from eqmail_core.outcome import Failure
from eqmail_core.system.commands import begin_with_field, run_with_input
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import fatal


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Feed sendmail, which gets the same arguments."""
    sendmail = os.fsencode(f"{read_site(environ).bin}/sendmail")
    try:
        message = begin_with_field(b"Date: " + date822(time.time()))
        return run_with_input([sendmail, *argv[1:]], environ, message)
    except Failure as failure:
        return fatal("predate", failure.text)
