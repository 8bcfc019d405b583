"""Match a host against a table of domains: its whole name, then each suffix that begins with a dot.

Every table of domains is matched here; the keys are in the form of `table_key`.

Source: delivery.md 5.6; control-files.md 2.2, 2.3; qmail-remote(8), addresses(5).
"""

from eqmail_core.mail.domain_name import table_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    Value = TypeVar("Value")


def domain_keys(host: bytes) -> list[bytes]:
    """Return the keys that match a host, the most specific first: `a.b.c`, `.b.c`, `.c`."""
    host = table_key(host)
    keys = [host]
    dot = host.find(b".", 1)
    while dot >= 0:
        keys.append(host[dot:])
        dot = host.find(b".", dot + 1)
    return keys


def find_by_host(table: "Mapping[bytes, Value]", host: bytes) -> "Value | None":
    """Return the value of the most specific key that matches a host, or None."""
    return next((table[key] for key in domain_keys(host) if key in table), None)
