"""Whether anybody receives the mail of a virtual domain, whose addresses become PREFIX-LOCALPART.

Fails: never, but for `require_reachable`.
"""

import os
from glob import escape, glob

from eqmail_core.local.delivery.request import safe_extension
from eqmail_core.outcome import PERMANENT
from eqmail_core.site.site import Site
from eqmail_core.users.user import LookupFailed
from eqmail_setup.errors import EqmailError
from eqmail_setup.mail.local_delivery import look_into_home
from eqmail_setup.mail.routing import find_owner

_PROBE = b"doctor-probe"


def receives_mail(site: Site, prefix: bytes, default: bytes) -> bool:
    """Whether a virtual domain with this prefix has any address; where that cannot be told now, it counts as one."""
    try:
        _, user = find_owner(site, prefix + b"-" + _PROBE)
    except LookupFailed:
        return True
    view = look_into_home(user, default, site.patrn)
    if view.cannot_look or view.outcome != PERMANENT.decode():
        return True
    stem = b".qmail" + user.dash + safe_extension(user.ext.removesuffix(_PROBE))
    return bool(glob(escape(os.fsdecode(user.home + b"/" + stem)) + "*"))


def require_reachable(site: Site, prefix: bytes) -> None:
    """Refuse a user as the prefix of a virtual domain to whom PREFIX-LOCALPART does not lead.

    So it is with system accounts where the delimiter is not a hyphen.
    Fails: EqmailError.
    """
    try:
        _, owner = find_owner(site, prefix)
        _, receiver = find_owner(site, prefix + b"-" + _PROBE)
    except LookupFailed:
        return
    if owner.name != prefix or receiver.name == owner.name or receives_mail(site, prefix, b"./Mailbox"):
        return
    name, delimiter = os.fsdecode(prefix), site.break_char.decode()
    problem = f"mail for the domain becomes {name}-LOCALPART, which user {name} does not receive"
    reason = f" (extensions follow '{delimiter}')" if delimiter else ""
    raise EqmailError(f"{name}: {problem}{reason}", hint=("eqmail", "user", "add", name))
