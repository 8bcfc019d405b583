"""Public suffixes: domains under which anybody can register a name."""

from publicsuffixlist import PublicSuffixList


def is_public_suffix(domain: str) -> bool:
    """Whether names under `domain` belong to strangers; only domains with a dot count, as com or a bare host do not."""
    if "." not in domain:
        return False
    return bool(PublicSuffixList(accept_unknown=False).is_public(domain.lower()))
