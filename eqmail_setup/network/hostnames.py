"""Names of hosts: the one of this host, the domains that follow from one, and whether a text is one at all.

Fails: Refusal (wrong usage) for a text that is no name.
Source: control-files.md 2.4; RFC 1123 section 2.1, RFC 1035 section 2.3.4.
"""

import re
import socket

from eqmail_core.mail.domain_name import ascii_domain
from eqmail_setup.errors import usage_error

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_NAME = 253


def host_name_of(host: str) -> str:
    """The canonical name of this host, as `hostname -f` prints it; the bare name if there is no other."""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_CANONNAME)
    except OSError:
        return host
    return found[0][3] or host


def domains_of(name: str) -> tuple[str, str]:
    """The default domain (without the first label) and the plus domain (the last two labels) of a host name."""
    labels = name.split(".")
    if len(labels) < 3:
        return name, name
    return ".".join(labels[1:]), ".".join(labels[-2:])


def is_host_name(name: str) -> bool:
    """Whether a text can be the name of a host, with a domain or without."""
    return len(name) <= _LONGEST_NAME and all(_LABEL.fullmatch(label) for label in name.split("."))


def ascii_form(name: str) -> str:
    """What to write for a name with letters beyond ASCII, as DNS has it; "" where there is no such form."""
    form = ascii_domain(name.encode("utf-8", "surrogateescape"))
    return f"its ASCII form {form.decode()}" if form.isascii() and not name.isascii() else ""


def require_host_name(name: str) -> None:
    """Refuse what is no fully qualified host name, with the reason and an example."""
    labels = name.split(".")
    if name.endswith("."):
        reason = "ends in a dot; leave it out"
    elif len(labels) < 2:
        reason = "has no domain; give the full name, such as mail.example.org"
    elif labels[-1].isdigit():
        reason = "is an address; give the name of this host, such as mail.example.org"
    elif not is_host_name(name):
        reason = f"is not a host name; give {ascii_form(name) or 'one such as mail.example.org'}"
    else:
        return
    raise usage_error(f"{name!r} {reason}")
