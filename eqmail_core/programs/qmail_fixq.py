"""qmail-fixq [-c|-f|-h]: check split, owners and modes of the queue, or repair them.

Exits: 0, 111 when the queue cannot be read or repaired.  Source: programs.md 1.1; queue.md 3.1.
"""

from contextlib import suppress

from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.queue.admin.repair import examine, repair
from eqmail_core.queue.format.listing import check_lines
from eqmail_core.queue.lock import QueueInUse, lock_scheduling
from eqmail_core.site.site import Site
from eqmail_core.system.files import write_all
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import log_line
from eqmail_core.text.error_text import error_text
from eqmail_core.text.options import BadOption, parse_options

HELP = b"""Usage: qmail-fixq [option]

  -c\tcheck split, owners and modes of the queue (default)
  -f\trepair them; qmail-send must not be running
  -h\tshow this help
"""


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Do what the options say, in their order."""
    try:
        options, _ = parse_options(argv, b"cfh")
    except BadOption:
        write_all(1, b"Invalid option!\n")
        options = [(b"h", b"")]
    try:
        site = read_site(environ)
        for letter, _ in options or [(b"c", b"")]:
            write_all(1, _ACTIONS[letter](site) if letter in _ACTIONS else HELP)
    except QueueInUse:
        log_line("qmail-fixq", "fatal: qmail-send is running, stop it first")
        return EXIT_TEMPORARY
    except (OSError, KeyError) as error:
        reason = error_text(error.errno) if isinstance(error, OSError) else f"no {error.args[0]}".encode()
        log_line("qmail-fixq", b"fatal: unable to handle the queue: " + reason)
        return EXIT_TEMPORARY
    return 0


def _check(site: Site) -> bytes:
    found = examine(site)
    return check_lines(found.split, found.user_lookup, found.modes)


def _fix(site: Site) -> bytes:
    with suppress(FileNotFoundError):
        lock_scheduling(site.queue)
    repair(site)
    return b"Fixing queue ...done!\n"


_ACTIONS = {b"c": _check, b"f": _fix}
