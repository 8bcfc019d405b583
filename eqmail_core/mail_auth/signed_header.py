"""The header fields that a signature covers: chosen from the bottom up, and hashed in canonical form.

Source: RFC 6376 sections 3.5 (b=), 3.7 and 5.4.2.
"""

import re

from cryptography.hazmat.primitives import hashes

from eqmail_core.mail.header import field_name
from eqmail_core.mail_auth.canonical import canonical_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SIGNATURE = re.compile(rb"((?:^|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")


class HeaderIndex:
    """The fields of a header by name, in order; each with its LF."""

    __slots__ = ("_by_name",)

    def __init__(self, fields: "Iterable[bytes]") -> None:
        self._by_name: dict[bytes, list[bytes]] = {}
        for field in fields:
            self._by_name.setdefault(field_name(field), []).append(field)

    def named(self, name: bytes) -> "Sequence[bytes]":
        """Return the fields of a name (lower case), from the top down."""
        return self._by_name.get(name, ())

    def select(self, names: "Iterable[bytes]", without: bytes | None = None) -> list[bytes]:
        """Return the fields that h= `names` means: each time a name comes, the next one from the bottom.

        Names are compared without case. `without`: the signature itself, which covers itself in another way.
        """
        taken: dict[bytes, int] = {}
        found = []
        for listed in names:
            name = listed.lower()
            present = self.named(name)
            place = taken.get(name, len(present)) - 1
            while place >= 0 and present[place] is without:
                place -= 1
            taken[name] = max(place, 0)
            if place >= 0:
                found.append(present[place])
        return found


def without_signature(field: bytes) -> bytes:
    """Return a signature field whose b= value is empty, everything else as it was."""
    name, colon, value = field.partition(b":")
    return name + colon + _SIGNATURE.sub(rb"\1", value.removesuffix(b"\n"), count=1) + b"\n"


def signed_digest(fields: "Iterable[bytes]", signature: bytes, form: bytes) -> bytes:
    """Return the SHA-256 of the covered fields and of the signature field with its b= value empty.

    `form`: the form of header fields.
    """
    digest = hashes.Hash(hashes.SHA256())
    for field in fields:
        digest.update(canonical_field(field, form))
    digest.update(canonical_field(without_signature(signature), form).removesuffix(b"\r\n"))
    return digest.finalize()
