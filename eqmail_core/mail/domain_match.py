"""Look up a host in a table: its whole name, then each suffix that begins with a dot.

Source: delivery.md 5.6; qmail-remote(8).
"""

from eqmail_core.mail.domain_name import table_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def find_by_host(table: "Mapping[bytes, bytes]", host: bytes) -> bytes | None:
    """Return the value for `host`, or None.  Keys are in the form of `table_key`."""
    host = table_key(host)
    value = table.get(host)
    dot = host.find(b".")
    while value is None and dot >= 0:
        value = table.get(host[dot:])
        dot = host.find(b".", dot + 1)
    return value
