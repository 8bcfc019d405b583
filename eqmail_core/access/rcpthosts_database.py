"""morercpthosts.cdb: the database of further domains for which mail is accepted.

Source: control-files.md 2.2, 2.3 (qmail-newmrh.c, rcpthosts.c).
"""

from eqmail_core.mail.domain_name import table_key
from eqmail_core.system.cdb import CdbDamaged, open_cdb, write_cdb
from eqmail_core.text.lines import non_empty_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def lists_domain(path: str, domain: bytes) -> bool:
    """Return whether the database at `path` lists a domain; comparison ignores case.

    Without a database the result is False.
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
    """Write the database at `path` from the text of morercpthosts.

    Fails: CdbNotWritten; the old database stays.
    """
    write_cdb(path, temporary, domain_records(text))


def domain_records(text: bytes) -> "Iterator[tuple[bytes, bytes]]":
    """Generate the database records for the text of morercpthosts."""
    return ((table_key(domain), b"") for domain in non_empty_lines(text))
