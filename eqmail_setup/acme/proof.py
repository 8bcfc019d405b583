"""What an ACME authority looks for to believe that a host name is ours."""

from typing import NamedTuple


class Proof(NamedTuple):
    """What is to be shown for one host name: `token` and `content` for http, `record` for dns, `digest` for alpn."""

    name: str
    token: str
    content: str
    record: str
    digest: bytes


def record_name(name: str) -> str:
    """Return the name of the TXT record that proves a host name, or a wildcard."""
    return f"_acme-challenge.{name.removeprefix('*.')}"
