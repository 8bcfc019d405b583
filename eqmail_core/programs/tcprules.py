"""tcprules rules.cdb rules.tmp: compile the rules on standard input.

Exits: 0, 100 usage or a line that is no rule, 111.  Source: smtp-server.md 4.9; tcprules(1).
"""

import os

from eqmail_core.outcome import EXIT_PERMANENT, EXIT_TEMPORARY
from eqmail_core.system.cdb import CdbNotWritten
from eqmail_core.system.log import log_line
from eqmail_core.tcpserver.rules import BadRule
from eqmail_core.tcpserver.rules_database import compile_rules
from eqmail_core.text.error_text import error_text


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Compile; the old database stays in force until the new one is complete."""
    if len(argv) < 3:
        log_line("tcprules", "usage: tcprules rules.cdb rules.tmp")
        return EXIT_PERMANENT
    target, temporary = argv[1], argv[2]
    texts = {
        "create": b"unable to create " + temporary,
        "write": b"unable to write " + temporary,
        "move": b"unable to move " + temporary + b" to " + target,
    }
    os.umask(0o033)
    try:
        with open(0, "rb", closefd=False) as lines:
            compile_rules(os.fsdecode(target), os.fsdecode(temporary), lines)
    except BadRule as bad:
        log_line("tcprules", b"fatal: unable to parse this line: " + bad.line)
        return EXIT_PERMANENT
    except CdbNotWritten as failure:
        return _die(texts[failure.step], failure.error)
    except OSError as error:
        return _die(b"unable to read input", error)
    return 0


def _die(text: bytes, error: OSError) -> int:
    log_line("tcprules", b"fatal: " + text + b": " + error_text(error.errno))
    return EXIT_TEMPORARY
