"""The organization of a domain by the list of public suffixes.

The list is loaded with the first question, which takes a tenth of a second.

Source: RFC 7489 section 3.2.
"""

from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList


@lru_cache(1)
def _public_suffixes() -> "PublicSuffixList":
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()


def organization(domain: bytes) -> bytes:
    """Return the public suffix of a domain and one label more; a public suffix itself is returned as it is.

    `domain`: A-labels in lower case.
    """
    found = _public_suffixes().privatesuffix(domain.decode("latin-1"))
    return found.encode("latin-1") if found else domain
