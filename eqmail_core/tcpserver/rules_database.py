"""rules.cdb: the database of the clients that a TCP server serves, and their variables.

Source: smtp-server.md 4.9.
"""

from eqmail_core.system.cdb import CdbDamaged, open_cdb, write_cdb
from eqmail_core.tcpserver.rules import LENGTHS, Rule, database_records, keys_for, parse_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def find_rule(path: str, ip: bytes, host: bytes | None, info: bytes | None) -> Rule | None:
    """Return the rule for a client, None if no rule matches.

    Fails: OSError if the database is unreadable, damaged or missing, because the permitted clients are unknown then.
    """
    database = open_cdb(path)
    if database is None:
        raise FileNotFoundError(path)
    with database:
        try:
            lengths = (database.get(LENGTHS) or b"") if b":" in ip else b""
            for key in keys_for(ip, host, info, lengths):
                data = database.get(key)
                if data is not None:
                    return parse_record(data)
        except CdbDamaged as damage:
            raise OSError(f"{path} is no database") from damage
    return None


def compile_rules(path: str, temporary: str, lines: "Iterable[bytes]") -> None:
    """Write the database at `path` from the lines of a rules file.

    Fails: BadRule, CdbNotWritten; OSError from reading the lines.  The old database stays in each case.
    """
    write_cdb(path, temporary, database_records(lines))
