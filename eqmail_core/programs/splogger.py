"""splogger [tag [facility]]: send the lines of standard input to syslog.

Exits: 0 at the end of input, 111.  Source: programs.md 1.8; splogger(8).
"""

import os
import syslog
import time

from eqmail_core.control.setting import ControlError
from eqmail_core.formats.lines import leading_number
from eqmail_core.formats.syslog_lines import ALERT, INFO, WARNING, LogLines
from eqmail_core.system.files import CHUNK
from eqmail_core.system.installation import read_controls, read_site
from eqmail_core.values.outcome import EXIT_DONE, EXIT_TEMPORARY

PRIORITIES = {INFO: syslog.LOG_INFO, WARNING: syslog.LOG_WARNING, ALERT: syslog.LOG_ALERT}


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Log until the input ends; a last line without LF counts, too."""
    tag = os.fsdecode(argv[1]) if len(argv) > 1 else "splogger"
    facility = (leading_number(argv[2]) or 0) << 3 if len(argv) > 2 else syslog.LOG_MAIL
    syslog.openlog(tag, 0, facility)
    lines = LogLines(stamped=_is_stamped(environ))
    try:
        while data := os.read(0, CHUNK):
            _log(lines, data)
    except OSError:
        return EXIT_TEMPORARY
    _log(lines, b"\n")
    return EXIT_DONE


def _log(lines: LogLines, data: bytes) -> None:
    for rank, text in lines.feed(data, time.time_ns() // 1000):
        syslog.syslog(PRIORITIES[rank], text.decode("ascii"))


def _is_stamped(environ: dict[bytes, bytes]) -> bool:
    """Logs in the grammar of 1.09 carry a stamp; those of later versions leave it to syslog."""
    try:
        return read_controls(read_site(environ), environ).logformat != b"head"
    except (OSError, ValueError, ControlError):
        return True
