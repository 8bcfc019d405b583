"""qmail-qread: print every preprocessed message in the queue with its recipients.

Messages that are only in memory are printed too, to those who may ask the scheduler.
Exits: 0, 111 (reason on standard output, as ever).  Source: programs.md 1.9; qmail-qread(8).
"""

import os
from signal import SIG_DFL, SIGPIPE, signal

from eqmail_core.formats.queue_listing import message_line, recipient_line
from eqmail_core.store.queue_scan import numbers_in
from eqmail_core.store.queue_view import lines_from_memory, look_at, recipients
from eqmail_core.system.desk_client import books_if_allowed
from eqmail_core.system.files import write_all
from eqmail_core.system.installation import read_site
from eqmail_core.values.error_text import error_text
from eqmail_core.values.layout import QueuePaths
from eqmail_core.values.outcome import EXIT_TEMPORARY


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Print the list; a message that cannot be read is named, and the next one follows."""
    signal(SIGPIPE, SIG_DFL)
    site = read_site(environ)
    queue, books, seen = site.queue, books_if_allowed(site), set[int]()
    trouble = b"chdir"
    try:
        os.stat(queue.root)
        for folder in queue.info_dirs():
            trouble = b"opendir " + os.fsencode(folder.removeprefix(f"{queue.root}/"))
            for number in numbers_in([folder]):
                seen.add(number)
                try:
                    _print(queue, number)
                except OSError as error:
                    write_all(1, b"warning: trouble with #%d: %b\n" % (number, error_text(error.errno)))
    except OSError as error:
        write_all(1, b"fatal: unable to " + trouble + b": " + error_text(error.errno) + b"\n")
        return EXIT_TEMPORARY
    for text in lines_from_memory(books, seen):
        write_all(1, text)
    return 0


def _print(queue: QueuePaths, number: int) -> None:
    message = look_at(queue, number)
    if message is not None:
        write_all(1, message_line(message))
        lines = [recipient_line(*recipient) for recipient in recipients(queue, number)]
        write_all(1, b"".join(lines))
