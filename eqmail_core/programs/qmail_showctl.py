"""qmail-showctl: print the choices made at setup and every control setting.

Exits: 0, 111 (reason on standard output, as in C).  Source: programs.md 1.9; qmail-showctl(8).
"""

import os

from eqmail_core.control.setting import ControlError
from eqmail_core.control.showctl import settings_report
from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.site.site import Site
from eqmail_core.system.files import write_all
from eqmail_core.system.installation import read_controls, read_site
from eqmail_core.system.role_ids import account_numbers


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Print the report."""
    site = read_site(environ)
    try:
        write_all(1, _setup_text(site))
        files = os.listdir(site.control)
    except KeyError as missing:
        write_all(1, f"Oops! Unable to find {missing.args[0]}.\n".encode())
        return EXIT_TEMPORARY
    except OSError:
        place = site.layout.control if os.path.isdir(site.home) else site.home
        write_all(1, f"Oops! Unable to chdir to {place}.\n".encode())
        return EXIT_TEMPORARY
    try:
        for block in settings_report(read_controls(site), files, lambda name: _changed(f"{site.control}/{name}")):
            write_all(1, block)
    except ControlError as failure:
        write_all(1, f"Oops! Trouble reading {site.layout.control}/{failure.name}.".encode())
        return EXIT_TEMPORARY
    return 0


def _setup_text(site: Site) -> bytes:
    users, groups = account_numbers(site)
    lines = (
        ("qmail home directory", site.home),
        ("user-ext delimiter", site.break_char.decode("latin-1")),
        ("paternalism (in decimal)", site.patrn),
        ("silent concurrency limit", site.spawn),
        ("subdirectory split", site.split),
        ("user ids", ", ".join(map(str, users))),
        ("group ids", ", ".join(map(str, groups))),
    )
    return "".join(f"{name}: {value}.\n" for name, value in lines).encode("utf-8", "surrogateescape")


def _changed(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None
