"""Counts checked messages for the reports of a day, in the process that checks them.

Fails: never; what cannot be counted is a line of the log.
"""

from collections.abc import Callable

from eqmail_core.mail_auth.message_check import CheckedMessage, MessageSource
from eqmail_core.reports.dmarc_rows import report_row
from eqmail_core.reports.store import ReportStore, StoreError
from eqmail_core.system.repeated_lines import say_seldom

NAME = "qmail-smtpd"


class DmarcRecorder:
    """Counts messages in the file at `path`, which is opened for the first one.

    `is_enforced`, `discovery`: as in `report_row`. `clock()`: seconds since the epoch.
    """

    def __init__(self, path: str, is_enforced: bool, discovery: str, clock: Callable[[], float]) -> None:
        self._path = path
        self._is_enforced = is_enforced
        self._discovery = discovery
        self._clock = clock
        self._store: ReportStore | None = None

    def record(self, found: CheckedMessage, source: MessageSource) -> None:
        """Count a message."""
        row = report_row(found, source, self._is_enforced, self._discovery)
        if row is None:
            return
        try:
            if self._store is None:
                self._store = ReportStore(self._path)
            if not self._store.count(self._clock(), *row):
                say_seldom(
                    NAME, "warning: a message is not counted for DMARC reports: too many different results today"
                )
        except StoreError as error:
            if self._store is not None:
                self._store.close()
            self._store = None
            say_seldom(NAME, f"warning: a message is not counted for DMARC reports: {error}")
