"""qmail-newmrh: make control/morercpthosts.cdb from control/morercpthosts.

Exits: 0, 111.  Source: control-files.md 2.2; qmail-newmrh(8).
"""

import os

from eqmail_core.access.rcpthosts_database import compile_domains
from eqmail_core.control.controls import Controls
from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.system.cdb import CdbNotWritten
from eqmail_core.system.files import read_all
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import log_line
from eqmail_core.text.error_text import error_text

SOURCE = Controls.morercpthosts.file
TARGET = Controls.morercpthosts_cdb.file
TEMPORARY = f"{SOURCE}.tmp"


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Compile; the old database stays in force until the new one is complete."""
    site = read_site(environ)
    folder = site.layout.control
    os.umask(0o033)
    try:
        with open(f"{site.control}/{SOURCE}", "rb") as file:
            text = read_all(file.fileno())
    except OSError as error:
        return _die(f"unable to read {folder}/{SOURCE}", error)
    try:
        compile_domains(f"{site.control}/{TARGET}", f"{site.control}/{TEMPORARY}", text)
    except CdbNotWritten as failure:
        if failure.step == "move":
            return _die(f"unable to move {folder}/{TEMPORARY} to {folder}/{TARGET}", failure.error)
        return _die(f"unable to write to {folder}/{TEMPORARY}", failure.error)
    return 0


def _die(text: str, error: OSError) -> int:
    log_line("qmail-newmrh", f"fatal: {text}: ".encode() + error_text(error.errno))
    return EXIT_TEMPORARY
