"""qmail-qstat [-h] [-l] [-i] [-L] [-R] [-m ID] [-D ID] [-d]: count, show or delete what is in the queue.

Without options the two lines of every qmail.  Exits: 0, 100 bad option, 111.  Source: programs.md 1.1, 1.9.
"""

from signal import SIG_DFL, SIGPIPE, signal

from eqmail_core.outcome import EXIT_PERMANENT, EXIT_TEMPORARY
from eqmail_core.queue.admin.qstat import ACTIONS, OPTIONS, NoSuchMessage, count_all
from eqmail_core.queue.admin.scheduler_client import scheduler_state_if_allowed
from eqmail_core.queue.admin.shared import open_shared_queue
from eqmail_core.queue.format.listing import count_lines
from eqmail_core.queue.lock import QueueInUse
from eqmail_core.queue.scan import count
from eqmail_core.system.files import write_all, write_pieces
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import log_line
from eqmail_core.text.error_text import error_text
from eqmail_core.text.options import BadOption, parse_options


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Do what the options say, in their order."""
    try:
        options, _ = parse_options(argv, OPTIONS)
    except BadOption as bad:
        log_line("qmail-qstat", bad.text)
        return EXIT_PERMANENT
    signal(SIGPIPE, SIG_DFL)
    site = read_site(environ)
    queue = site.queue
    try:
        if not options:
            shared = open_shared_queue(site)
            # What the database has includes what this node has in memory.
            if shared is not None:
                messages = count_all(queue, None) + shared.count()
            else:
                messages = count_all(queue, scheduler_state_if_allowed(site))
            write_all(1, count_lines(messages, count(queue.todo_dirs())))
        for letter, value in options:
            write_pieces(1, ACTIONS[letter](queue, value))
    except QueueInUse:
        return _die(b"qmail-send is running, stop it first")
    except NoSuchMessage:
        return _die(b"no such message")
    except OSError as error:
        return _die(b"unable to read the queue: " + error_text(error.errno))
    return 0


def _die(text: bytes) -> int:
    log_line("qmail-qstat", b"fatal: " + text)
    return EXIT_TEMPORARY
