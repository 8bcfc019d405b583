"""The programs in bin/ that are commands of `eqmail` under another name, and `eqmail` itself."""

import os
from collections.abc import Mapping, Sequence

from eqmail_setup.legacy.console import flush


def mkusers(argv: Sequence[bytes], environ: Mapping[bytes, bytes]) -> int:
    """Create the accounts: `mkusers [--dry-run]`."""
    return _toolkit(["mkusers", *map(os.fsdecode, argv[1:])], environ)


def eqmail(argv: Sequence[bytes], environ: Mapping[bytes, bytes]) -> int:
    """The command `eqmail` for the installation in whose bin/ it lies."""
    return _toolkit([os.fsdecode(word) for word in argv[1:]], environ)


def _toolkit(arguments: list[str], environ: Mapping[bytes, bytes]) -> int:
    from eqmail_setup.cli.app import run

    os.environb.update(environ)
    code = run(arguments)
    return flush() or code
