"""Which programs are ours: what they would do can be done without starting an interpreter for them.  Light."""

import os

from eqmail_core.system.files import read_file


def is_own(path: bytes, home: bytes, name: bytes) -> bool:
    """Whether this is the program `name` of the installation, as setup wrote it.  Fails: OSError: it cannot be read."""
    if path != os.path.join(home, b"bin", name):
        return False
    # The line by which the program that setup writes finds its code.
    line = b"\nfrom eqmail_core.programs.%b import main\n" % name.replace(b"-", b"_")
    return line in (read_file(path) or b"")
