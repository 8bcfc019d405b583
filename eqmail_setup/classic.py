"""The toolkit's programs under their classic names in bin/: config-fast, mkusers; and `eqmail` itself.

Each is called like every program of the suite: argv and environment as bytes, an exit code back. `config_fast` writes
what C's does, byte for byte, and takes every name; `eqmail config-fast` is the careful one.
"""

import os
import socket
import sys
from collections.abc import Mapping, Sequence

from eqmail_core.system.installation import read_site
from eqmail_setup.first_settings import host_name_of, write_first_settings

_TEMPORARY = 111


def config_fast(argv: Sequence[bytes], environ: Mapping[bytes, bytes]) -> int:
    """Write the first control files: `config-fast [FQDN]`."""
    site = read_site(environ)
    name = os.fsdecode(argv[1]) if len(argv) > 1 else host_name_of(socket.gethostname())
    try:
        write_first_settings(site, name, _say)
    except OSError as error:
        sys.stderr.write(f"config-fast: fatal: {error.filename}: {error.strerror}\n")
        return _TEMPORARY
    return _flushed()


def mkusers(argv: Sequence[bytes], environ: Mapping[bytes, bytes]) -> int:
    """Create the accounts: `mkusers [--dry-run]`."""
    return _toolkit(["mkusers", *map(os.fsdecode, argv[1:])], environ)


def eqmail(argv: Sequence[bytes], environ: Mapping[bytes, bytes]) -> int:
    """The command `eqmail` for the installation in whose bin/ it lies."""
    return _toolkit([os.fsdecode(word) for word in argv[1:]], environ)


def _toolkit(arguments: list[str], environ: Mapping[bytes, bytes]) -> int:
    from eqmail_setup.cli import run

    os.environb.update(environ)
    code = run(arguments)
    return _flushed() or code


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _flushed() -> int:
    try:
        sys.stdout.flush()
    except OSError:
        return _TEMPORARY
    return 0
