"""Starts a mail reader that supports only mbox files, after new mail has been moved there.

Source: programs.md 1.3 (elq, pinq, qail).
"""

import os

from eqmail_core.outcome import Failure
from eqmail_core.system.commands import run
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import fatal
from eqmail_core.text.error_text import error_text


def read_with(reader: str, argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Run maildir2mbox and, if it succeeds, execute `reader`, found along PATH, with argv."""
    program = f"{read_site(environ).bin}/maildir2mbox"
    try:
        code = run([os.fsencode(program)], environ)
        if code:
            return code
        program = reader
        os.execvpe(reader, [reader.encode(), *argv[1:]], environ)
    except Failure as failure:
        return fatal(reader, failure.text)
    except OSError as error:
        return fatal(reader, b"unable to run %b: %b" % (os.fsencode(program), error_text(error.errno)))
