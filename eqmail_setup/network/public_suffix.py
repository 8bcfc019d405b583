"""Public suffixes: domains under which anyone can register a name."""

from publicsuffixlist import PublicSuffixList


def is_public_suffix(domain: str) -> bool:
    """Whether names under `domain` have unrelated owners; only domains with a dot count, not com or a bare host."""
    if "." not in domain:
        return False
    return bool(PublicSuffixList(accept_unknown=False).is_public(domain.lower()))
