"""The account that owns mailboxes without an account of their own; it is created when the first one is."""

from typing import TYPE_CHECKING

from eqmail_setup.cli.options import ChangeOptions
from eqmail_setup.cli.output import echo
from eqmail_setup.errors import EqmailError

if TYPE_CHECKING:
    from eqmail_core.site.site import Site

ACCOUNT = "vmail"


def owner_of_mailboxes(site: "Site", ids: str, domain: str, change: ChangeOptions) -> tuple[int, int]:
    """The ids of a new mailbox in a domain: those given, those of the domain, or of an account that is created.

    Fails: EqmailError.
    """
    from eqmail_setup.installation.account_creation import ids_of_account
    from eqmail_setup.mail.mailboxes import ids_of
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    found = ids_of(site, ids, domain, DiskFilesystem(site.home))
    if found is None:
        found = ids_of_account(
            ACCOUNT, f"{site.users}", not change.preview_only, lambda line: echo(line, err=change.as_json)
        )
    if found[0] == 0 and not site.single_user:
        raise EqmailError(f"{ACCOUNT}: is root, to whom nothing is delivered")
    return found
