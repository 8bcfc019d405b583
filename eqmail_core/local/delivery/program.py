"""A program line of a .qmail file: run by the shell, or here if it is a plain qmail-lmtp.

Programs inherit descriptors 0, 1 and 2, descriptor 0 at the beginning of the message, and no others.

Fails: TemporaryFailure and PermanentFailure with the report text, which is empty after a program that wrote its own.
Source: qmail-command(8); delivery.md 5.4.
"""

import os

from eqmail_core.control.setting import ControlError
from eqmail_core.outcome import EXIT_DONE, EXIT_STOP, PermanentFailure, TemporaryFailure
from eqmail_core.system import processes
from eqmail_core.system.files import write_all
from eqmail_core.system.installation import read_controls
from eqmail_core.text.error_text import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.site.site import Site
    from eqmail_core.system.message_file import MessageFile

LMTP = b"qmail-lmtp"

_SHELL = b"/bin/sh"
_PERMANENT_EXITS = frozenset((100, 64, 65, 70, 76, 77, 78, 112))


def run_program(site: "Site", command: bytes, environ: "Mapping[bytes, bytes]", message: "MessageFile") -> bool:
    """Execute a program line; True if no further instructions must be followed."""
    if LMTP in command and _deliver_if_lmtp(site, command, environ, message):
        return False
    try:
        os.lseek(message.fd, 0, os.SEEK_SET)
    except OSError as error:
        raise TemporaryFailure(b"Unable to rewind message: %b. (#4.3.0)" % error_text(error.errno)) from error
    code = _run(command, environ, limit_s(site, environ))
    if code < 0:
        raise TemporaryFailure(b"Aack, child crashed. (#4.3.0)")
    if code in _PERMANENT_EXITS:
        raise PermanentFailure(b"")
    if code not in (EXIT_DONE, EXIT_STOP):
        raise TemporaryFailure(b"")
    return code == EXIT_STOP


def _run(command: bytes, environ: "Mapping[bytes, bytes]", limit_s: int) -> int:
    try:
        pid = processes.start([_SHELL, b"-c", command], environ, leads_group=limit_s > 0)
        code = processes.await_end_within(pid, limit_s) if limit_s else processes.await_end(pid)
    except OSError as error:
        raise TemporaryFailure(b"Unable to run /bin/sh: %b. (#4.3.0)" % error_text(error.errno)) from error
    if code is None:
        raise TemporaryFailure(b"Program took longer than %d seconds and was ended. (#4.3.0)" % limit_s)
    return code


def limit_s(site: "Site", environ: "Mapping[bytes, bytes]") -> int:
    """The time limit of a program in seconds; 0 for none.  Fails: TemporaryFailure."""
    try:
        return read_controls(site, environ).programseconds
    except ControlError as error:
        raise TemporaryFailure(b"Unable to read control files. (#4.3.0)") from error


def _deliver_if_lmtp(site: "Site", command: bytes, environ: "Mapping[bytes, bytes]", message: "MessageFile") -> bool:
    """Deliver the message to an LMTP server if the command would do nothing else."""
    # Imported here, because it costs as much as the rest, and few users have it.
    from eqmail_core.local.delivery.lmtp import deliver_by_lmtp
    from eqmail_core.local.delivery.lmtp_command import lmtp_words

    words = lmtp_words(command, os.fsencode(f"{site.bin}/") + LMTP, environ)
    if words is None:
        return False
    write_all(1, deliver_by_lmtp(site, words, environ, message.chunks()))
    return True
