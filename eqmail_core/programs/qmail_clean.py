"""qmail-clean: remove the queue's files on request; file names with NUL on descriptor 0, a byte each on descriptor 1.

Exits: 0 at the end of descriptor 0, 111 cannot reach the queue or the requester.
Source: queue.md 3.6; qmail-clean(8).
"""

import os
import time

from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.spool import SWEEP_EVERY, clean, sweep
from eqmail_core.system.files import CHUNK, write_all
from eqmail_core.system.installation import read_site

_LONGEST = 1000


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Answer requests until there are no more."""
    try:
        paths = read_site(environ).queue
        os.chdir(paths.root)
    except (OSError, ValueError):
        return EXIT_TEMPORARY
    disk, pending, count = FileSystem(), b"", 0
    while True:
        if count % SWEEP_EVERY == 0:
            sweep(disk, paths, time.time())
        while b"\0" not in pending:
            piece = os.read(0, CHUNK)
            if not piece:
                return 0
            # a request that does not end is malformed however it goes on, and need not be kept
            pending = pending[:_LONGEST] + piece
        request, _, pending = pending.partition(b"\0")
        write_all(1, clean(disk, paths, request))
        count += 1
