"""Reads the header of a message from a descriptor, as far as the body and no further.

Fails: OSError when it cannot be read.
"""

import os

from eqmail_core.mail.header import HeaderReader
from eqmail_core.system.files import CHUNK


def read_header(fd: int, prefix: bytes = b"") -> HeaderReader:
    """Read until the body begins, as if `prefix` came first.

    The reader also holds the part of the body that was read.
    """
    reader = HeaderReader()
    if prefix and reader.feed(prefix):
        return reader
    while data := os.read(fd, CHUNK):
        if reader.feed(data):
            return reader
    reader.end()
    return reader
