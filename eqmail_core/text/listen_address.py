"""Listen addresses: ADDRESS:PORT or [IPv6]:PORT, with the prefix tls: for implicit TLS."""

import re
from ipaddress import ip_address
from typing import NamedTuple

IMPLICIT_TLS = "tls:"
"""Prefix of a listen address: clients speak TLS from the first byte."""

WANTED = "is not ADDRESS:PORT or [IPv6]:PORT (tls: before it for TLS from the first byte)"

_FORM = re.compile(r"(tls:)?(?:\[([0-9A-Fa-f:.]+)\]|([^:\s\[\]]*)):([0-9]{1,5})")


class ListenAddress(NamedTuple):
    """A parsed listen address; `host` is an address, a name, or "" for all IPv4 addresses."""

    is_tls: bool
    host: str
    port: int


def parse_listen_address(text: str) -> ListenAddress | None:
    """Parse a listen address; None for invalid text."""
    form = _FORM.fullmatch(text)
    if form is None or not 0 < int(form[4]) < 1 << 16:
        return None
    host = form[2] or form[3]
    if form[2] or not host.strip("0123456789."):
        try:
            if host:
                ip_address(host)
        except ValueError:
            return None
    return ListenAddress(bool(form[1]), host, int(form[4]))
