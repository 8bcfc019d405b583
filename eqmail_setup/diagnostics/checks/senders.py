"""What the doctor asks of senders of logins: whether the logins exist.

Fails: OSError where the caller may not look.
"""

import os
from collections.abc import Iterator

from eqmail_core.control.controls import Controls
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_setup.diagnostics.finding import NOTE, Finding
from eqmail_setup.mail.credentials import credentials_in
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem


def check_senders(site: Site) -> Iterator[Finding]:
    """Whether every login with a line has a password in users/smtpauth, where passwords are kept there."""
    senders = read_controls(site).senderlogin
    known = {os.fsencode(it.login).lower() for it in credentials_in(site, DiskFilesystem(site.home))}
    if senders is None or not known:
        return
    path = f"{site.control}/{Controls.senderlogin.file}"
    for login in senders.logins:
        if login not in known:
            fact = f"{path}: {os.fsdecode(login)}: this login has no password"
            yield Finding("senders.login", NOTE, fact, ("eqmail", "auth", "list"))
