"""Finds the installation that a program belongs to, and its settings.

EQMAIL_HOME overrides the home that setup wrote into the program.
"""

import os

from eqmail_core.site.layout import home_of
from eqmail_core.site.site import Site
from eqmail_core.site.site_file import SITE_FILE, parse_site
from eqmail_core.system.files import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.control.controls import Controls


def read_site(environ: "Mapping[bytes, bytes]") -> Site:
    """The installation named by the environment, with the choices that setup stored in it.

    Fails: OSError when the site file cannot be read; ValueError when it is invalid.
    """
    home = os.fsdecode(home_of(environ))
    path = f"{home}/{SITE_FILE}"
    text = read_file(path)
    try:
        return Site(home=home) if text is None else parse_site(home, text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_controls(site: Site, environ: "Mapping[bytes, bytes] | None" = None) -> "Controls":
    """The settings of an installation; values from `environ` override files where declared so."""
    # Imported here, because the table of settings is long; qmail-queue starts once per message and needs none.
    from eqmail_core.control.controls import controls_in

    return controls_in(site.control, read_file, environ)


def is_own(path: bytes, home: bytes, name: bytes) -> bool:
    """Tell whether `path` is the program `name` of the installation, as setup wrote it.

    Fails: OSError when it cannot be read.
    """
    if path != os.path.join(home, b"bin", name):
        return False
    # The import line in the program file that setup writes.
    line = b"\nfrom eqmail_core.programs.%b import main\n" % name.replace(b"-", b"_")
    return line in (read_file(path) or b"")
