"""morercpthosts.cdb: thousands of domains for which mail is accepted, as a database.

Source: control-files.md 2.2, 2.3 (qmail-newmrh.c, rcpthosts.c).
"""

import os

from eqmail_core.control.controls import Controls
from eqmail_core.mail.domain_name import table_key
from eqmail_core.outcome import TemporaryFailure
from eqmail_core.system.cdb import CdbDamaged, open_cdb, write_cdb
from eqmail_core.text.lines import non_empty_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eqmail_core.site.site import Site


def lists_domain(path: str, domain: bytes) -> bool:
    """Tell whether the database at `path` lists a domain, without regard to case; False where there is no database.

    Fails: OSError, also for a damaged database.
    """
    database = open_cdb(path)
    if database is None:
        return False
    with database:
        try:
            return database.get(table_key(domain)) is not None
        except CdbDamaged as damage:
            raise OSError(f"{path} is no database") from damage


def compile_domains(path: str, temporary: str, text: bytes) -> None:
    """Make the database at `path` from the text of morercpthosts.

    Fails: CdbNotWritten; the old database stays.
    """
    write_cdb(path, temporary, domain_records(text))


def domain_records(text: bytes) -> "Iterator[tuple[bytes, bytes]]":
    """The records of the database of this text."""
    return ((table_key(domain), b"") for domain in non_empty_lines(text))


def morercpthosts_lookup(site: "Site") -> "Callable[[list[bytes]], bool]":
    """A test whether any of some names is in the database of a site; there need not be one.

    The test fails: Temporary where the database cannot be read.
    """
    path = f"{site.control}/{Controls.morercpthosts_cdb.file}"

    def is_more(names: list[bytes]) -> bool:
        if not os.path.exists(path):
            return False
        from eqmail_core.access.rcpthosts_database import lists_domain

        try:
            return any(lists_domain(path, name) for name in names)
        except OSError as error:
            raise TemporaryFailure(b"unable to read controls") from error

    return is_more
