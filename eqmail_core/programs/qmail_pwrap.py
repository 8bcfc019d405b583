"""qmail-pwrap [SUBPROGRAM ARGS]: try several checkpassword programs in turn, until one accepts.

Each tool of the list gets the same credentials on descriptor 3 and the same arguments; one that does not exist is
passed over.
Exits: 0 accepted, 1 refused by all, 2 no credentials, 111 refused by some and in trouble elsewhere.
Source: programs.md 1.5; cr.yp.to/checkpwd/interface.html.
"""

import os

from eqmail_core.control.setting import ControlError
from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.system.files import read_all, write_all
from eqmail_core.system.installation import read_controls, read_site
from eqmail_core.system.log import log_line
from eqmail_core.system.processes import IGNORED_BY_PYTHON, await_end

REFUSED = 1
MISUSED = 2
_CREDENTIALS = 3
# What a pipe takes without a reader; checkpassword programs read 512 bytes.
_MAX_BYTES = 4096


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Ask the tools in their order."""
    try:
        secret = read_all(_CREDENTIALS)
    except OSError:
        return MISUSED
    if not secret or len(secret) > _MAX_BYTES:
        return MISUSED
    try:
        tools = read_controls(read_site(environ)).checkpwtools or []
    except ControlError as failure:
        log_line("qmail-pwrap", f"fatal: unable to read {failure}")
        return EXIT_TEMPORARY
    codes = [REFUSED]
    for tool in tools:
        if os.path.exists(tool):
            codes.append(_ask([tool, *argv[1:]], environ, secret))
            if codes[-1] == 0:
                return 0
    return EXIT_TEMPORARY if EXIT_TEMPORARY in codes else REFUSED


def _ask(argv: list[bytes], environ: dict[bytes, bytes], secret: bytes) -> int:
    """Exit code of one tool; trouble of any kind is temporary."""
    reading, writing = os.pipe()
    try:
        write_all(writing, secret)
        os.close(writing)
        place = [(os.POSIX_SPAWN_DUP2, reading, _CREDENTIALS)]
        code = await_end(os.posix_spawn(argv[0], argv, environ, file_actions=place, setsigdef=IGNORED_BY_PYTHON))
    except OSError:
        code = EXIT_TEMPORARY
    finally:
        os.close(reading)
    return EXIT_TEMPORARY if code < 0 else code
