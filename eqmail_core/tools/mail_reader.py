"""Starting a mail reader that knows mbox files only, after the new mail has been moved there.

Source: programs.md 1.3 (elq, pinq, qail).
"""

import os

from eqmail_core.outcome import Failure
from eqmail_core.system.commands import run
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import fatal
from eqmail_core.text.error_text import error_text


def read_with(reader: str, argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Run maildir2mbox and, if it succeeds, become `reader`, found along PATH, with the words of argv."""
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
