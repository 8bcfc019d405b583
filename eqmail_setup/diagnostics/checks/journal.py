"""What is damaged in the queue's journal, and what is kept of earlier damage.

While the services run the journal changes all the time; their log has the result of the check at their start.

Fails: OSError where the caller may not look.
"""

from collections.abc import Iterator

from eqmail_core.queue.admin.journal_status import read_journal_status
from eqmail_core.queue.format.journal_damage import ALERT, describe_damage
from eqmail_core.site.site import Site
from eqmail_setup.diagnostics.finding import ERROR, WARNING, Finding
from eqmail_setup.installation.staging import site_with_present_owners
from eqmail_setup.settings.reload import running_pid

_NEXT = "the next start reads what is intact and keeps the file for examination; inform senders about lost messages"


def check_journal(site: Site) -> Iterator[Finding]:
    """Damaged segments of stopped services, and those kept from earlier."""
    status = read_journal_status(site_with_present_owners(site).queue.journal)
    for damaged in () if running_pid(site) else status.damaged:
        weight, fact = describe_damage(damaged)
        yield Finding("queue.journal", ERROR if weight == ALERT else WARNING, fact, _NEXT)
    for path in status.kept:
        fact = f"{path}: was damaged, and is kept for examination"
        yield Finding("queue.damaged-journal", WARNING, fact, f"rm {path} once it was examined")
