"""Starts a checkpassword program with credentials on descriptor 3, and reads its exit code.

Source: smtp-server.md 4.6; cr.yp.to/checkpwd/interface.html.
"""

import os

from eqmail_core.auth.checkpassword import CHECKER_CRASHED, NO_CHILD, NO_PIPE
from eqmail_core.system.log import describe_error, write_stderr
from eqmail_core.system.processes import IGNORED_BY_PYTHON
from eqmail_core.text.framing import join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.auth.credentials import Credentials


_CREDENTIALS_FD = 3


def start_checker(
    argv: list[bytes], environ: "Mapping[bytes, bytes]", credentials: "Credentials", client: int | None = None
) -> int:
    """Start a password checker with the credentials on descriptor 3.

    `client` becomes its descriptors 0 and 1, which otherwise are those of this process.
    Returns its process id, or a negative outcome of `auth.checkpassword`. A checker that cannot be run is logged.
    The credentials fit the pipe and are written before the program starts, so that neither side blocks.
    """
    try:
        reading, writing = os.pipe()
    except OSError:
        return NO_PIPE
    try:
        os.write(writing, join(credentials.user, credentials.password, credentials.challenge))
    finally:
        os.close(writing)
    # The client first: its descriptor may be 3.
    actions = [(os.POSIX_SPAWN_DUP2, client, fd) for fd in (0, 1)] if client is not None else []
    actions.append((os.POSIX_SPAWN_DUP2, reading, _CREDENTIALS_FD))
    try:
        return os.posix_spawnp(argv[0], argv, environ, file_actions=actions, setsigdef=IGNORED_BY_PYTHON)
    except (OSError, ValueError) as error:
        write_stderr(b"alert: unable to run %b\n" % describe_error(error))
        return NO_CHILD
    finally:
        os.close(reading)


def checker_outcome(code: int) -> int:
    """Return the outcome of a finished checker: its exit code, or CHECKER_CRASHED."""
    return CHECKER_CRASHED if code < 0 else code
