"""What the doctor asks of limits of submitters: whether their users exist, and who was over one.

Fails: OSError where the caller may not look.
"""

import time
from collections.abc import Iterator

from eqmail_core.control.controls import Controls
from eqmail_core.site.site import Site
from eqmail_setup.diagnostics.finding import WARNING, Finding
from eqmail_setup.mail.limits import field_for, told_submitters, unknown_users


def check_limits(site: Site) -> Iterator[Finding]:
    """Whether the limits can be applied, and who sends more than they allow."""
    path = f"{site.control}/{Controls.submissionlimits.file}"
    for name in unknown_users(site):
        yield Finding("limits.user", WARNING, f"{path}: {name}: no such user; the line has no effect", "correct it")
    for kind, name, over in told_submitters(site, time.time()):
        where = f"{field_for(kind)}={name}"
        fact = f"{kind} {name} sends more than its limits allow: {over} messages were held or refused"
        yield Finding("limits.over", WARNING, fact, ("eqmail", "queue", "list", "--where", where))
