"""qmail-qread: print every preprocessed message in the queue with its recipients.

Messages that are only in memory are printed too, to those who may ask the scheduler.
Exits: 0, 111 (reason on standard output, as in C).  Source: programs.md 1.9; qmail-qread(8).
"""

import os
from collections.abc import Iterator
from signal import SIG_DFL, SIGPIPE, signal

from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.queue.admin.messages import QueuedMessage, each_message
from eqmail_core.queue.admin.scheduler_client import SchedulerState, scheduler_state_if_allowed
from eqmail_core.queue.admin.shared import open_shared_queue
from eqmail_core.queue.format.listing import message_line, recipient_line
from eqmail_core.site.layout import QueuePaths
from eqmail_core.system.files import write_all, write_pieces
from eqmail_core.system.installation import read_site
from eqmail_core.text.error_text import error_text


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Print the list; a message that cannot be read is named, and the next one follows."""
    signal(SIGPIPE, SIG_DFL)
    site = read_site(environ)
    root = site.queue.root
    try:
        os.stat(root)
        state = scheduler_state_if_allowed(site)
        write_pieces(1, _lines(site.queue, state))
        shared = open_shared_queue(site)
        if shared is not None:
            in_memory = state.memory if state is not None else {}
            write_pieces(1, (_text(message) or b"" for message in shared.messages() if message.number not in in_memory))
    except OSError as error:
        what = "chdir" if error.filename == root else f"opendir {error.filename}".replace(f"{root}/", "")
        write_all(1, b"fatal: unable to %b: %b\n" % (os.fsencode(what), error_text(error.errno)))
        return EXIT_TEMPORARY
    return 0


def _lines(queue: QueuePaths, books: SchedulerState | None) -> Iterator[bytes]:
    warnings: list[bytes] = []

    def unread(number: int, error: OSError) -> None:
        warnings.append(b"warning: trouble with #%d: %b\n" % (number, error_text(error.errno)))

    for text in each_message(queue, books, _text, on_problem=unread):
        yield from warnings
        warnings.clear()
        yield text
    yield from warnings


def _text(message: QueuedMessage) -> bytes | None:
    if message.state == "new":
        return None
    lines = [recipient_line(*recipient) for recipient in message.recipients]
    message.whole()
    return message_line(message.number, message.birth, message.size, message.sender, message.bounces) + b"".join(lines)
