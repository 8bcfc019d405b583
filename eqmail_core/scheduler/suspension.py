"""Whether mail to a host waits because an administrator suspended its domain (control/suspendeddomains).

Fails: never.
"""

from collections.abc import Mapping

from eqmail_core.control.list_kinds import NO_END
from eqmail_core.mail.domain_match import domain_keys


def suspension_of(domains: Mapping[bytes, int] | None, host: bytes, now: float) -> int | None:
    """Return when the suspension of a host ends, NO_END if it does not; None where there is none now.

    An entry that is over gives way to those of the domains above.
    """
    if not domains:
        return None
    ends = (domains.get(key) for key in domain_keys(host))
    return next((end for end in ends if end is not None and (end == NO_END or end > now)), None)
