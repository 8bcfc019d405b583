"""splogger: sends the lines of standard input to syslog.

Source: programs.md 1.8; splogger(8).
"""

import os
import syslog
import time

from eqmail_core.control.delivery_settings import HEAD
from eqmail_core.control.setting import ControlError
from eqmail_core.system.files import CHUNK
from eqmail_core.system.installation import read_controls, read_site
from eqmail_core.text.lines import leading_number
from eqmail_core.tools.syslog_lines import ALERT, INFO, WARNING, SyslogLines

PRIORITIES = {INFO: syslog.LOG_INFO, WARNING: syslog.LOG_WARNING, ALERT: syslog.LOG_ALERT}


def copy(words: list[bytes], environ: dict[bytes, bytes], data: bytes) -> None:
    """Log until the input ends, `data` first; a last line without LF counts.  Fails: OSError."""
    tag = os.fsdecode(words[0]) if words else "splogger"
    facility = (leading_number(words[1]) or 0) << 3 if len(words) > 1 else syslog.LOG_MAIL
    syslog.openlog(tag, 0, facility)
    lines = SyslogLines(stamped=_is_stamped(environ))
    while data:
        _log(lines, data)
        data = os.read(0, CHUNK)
    _log(lines, b"\n")


def _log(lines: SyslogLines, data: bytes) -> None:
    for rank, text in lines.feed(data, time.time_ns() // 1000):
        syslog.syslog(PRIORITIES[rank], text.decode("ascii"))


def _is_stamped(environ: dict[bytes, bytes]) -> bool:
    """Tell whether log lines get a time stamp: only with the log format of 1.09."""
    try:
        return read_controls(read_site(environ), environ).logformat != HEAD
    except (OSError, ValueError, ControlError):
        return True
