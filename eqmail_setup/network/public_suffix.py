"""Public suffixes: domains under which anyone can register a name."""

from publicsuffixlist import PSLFILE, PublicSuffixList


def is_public_suffix(domain: str) -> bool:
    """Whether names under `domain` have unrelated owners; only domains with a dot count, not com or a bare host."""
    if "." not in domain:
        return False
    name = domain.lower()
    return bool(PublicSuffixList(_rules_below(name.rpartition(".")[2]), accept_unknown=False).is_public(name))


def _rules_below(top: str) -> list[bytes]:
    """The lines of the list about a top-level domain: reading all of it takes a tenth of a second."""
    is_plain = top.isascii() and not top.startswith("xn--")
    with open(PSLFILE, "rb") as file:
        return [line for line in file if not is_plain or line.rstrip().endswith(top.encode())]
