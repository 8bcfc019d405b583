"""The bytes of a constant database, so that a plan can compare them with what is there and put them in place.

Fails: OSError; whatever the records raise.
"""

import tempfile
from collections.abc import Iterable

from eqmail_core.system.cdb import write_cdb
from eqmail_core.system.files import read_file


def database_bytes(records: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The database of these records, byte for byte as C's cdbmake makes it."""
    with tempfile.TemporaryDirectory(prefix="eqmail-") as folder:
        write_cdb(f"{folder}/cdb", f"{folder}/tmp", records)
        return read_file(f"{folder}/cdb") or b""
