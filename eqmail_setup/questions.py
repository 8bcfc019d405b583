"""Questions to DNS, for commands that explain and examine.

Fails: Refusal when no answer comes; a name or a kind that does not exist is an answer, and empty.
"""

import dns.exception
import dns.resolver
import dns.reversename

from eqmail_setup.refusal import Refusal

PATIENCE_S = 5.0


def ask(name: str, kind: str) -> list[str]:
    """The records of one kind, as text; those of TXT without quotation marks and in one piece."""
    try:
        answer = dns.resolver.resolve(name, kind, lifetime=PATIENCE_S)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise Refusal(
            f"DNS gives no answer for {name} {kind}: {type(error).__name__}; --offline asks nothing"
        ) from error
    if kind == "TXT":
        return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]
    return sorted(str(record).rstrip(".") for record in answer)


def names_of(address: str) -> list[str]:
    """The names that DNS gives an address (PTR)."""
    return ask(str(dns.reversename.from_address(address)), "PTR")
