"""The filters named in the settings, and the panel of filters for each session.

Light: sessions without filters import no code that queries them.
"""

import time

from eqmail_core.control.filter_entries import FilterEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eqmail_core.control.controls import Controls
    from eqmail_core.filters.check_loading import LoadedCheck
    from eqmail_core.filters.milter_filter import MilterConnection, MilterFilter
    from eqmail_core.filters.python_checks import Calls, CheckFilter


class FilterConfig:
    """Milters and checks in order.

    `quarantine_to`: the address for quarantined mail; `write_log`: logs a line.
    Fails: never; an unavailable check is a filter as well, with the default verdict of its entry.
    """

    __slots__ = ("_checks", "_health", "_milters", "_write_log", "quarantine_to")

    def __init__(
        self,
        milters: "Sequence[FilterEntry]",
        checks: "Sequence[tuple[FilterEntry, LoadedCheck]]",
        quarantine_to: bytes | None,
        write_log: "Callable[[bytes], None]",
    ) -> None:
        from eqmail_core.filters.milter_filter import MilterHealth

        self._milters = milters
        self._checks = checks
        self._health = MilterHealth(self._log)
        self._write_log = write_log
        self.quarantine_to = quarantine_to
        for entry, check in checks:
            if check.problem:
                self._log(f"check {entry.name.decode('utf-8', 'replace')}: {check.problem}")

    def blocking_chain(self, has_milters: bool = True) -> "FilterChain":
        """Return the filters of one session of a blocking program; `has_milters`: milters see the client."""
        from eqmail_core.filters.blocking_milter import BlockingMilterConnection

        def calls() -> "Calls":
            from eqmail_core.filters.python_checks import BlockingCalls

            return BlockingCalls()

        return self._chain(has_milters, BlockingMilterConnection, calls)

    def async_chain(self, has_milters: bool = True) -> "FilterChain":
        """Return the filters of one session of a service; `has_milters`: milters see the client."""
        from eqmail_core.filters.async_milter import AsyncMilterConnection

        def calls() -> "Calls":
            from eqmail_core.filters.python_checks import AsyncCalls

            return AsyncCalls()

        return self._chain(has_milters, AsyncMilterConnection, calls)

    def _chain(
        self, has_milters: bool, new_connection: "Callable[[], MilterConnection]", new_calls: "Callable[[], Calls]"
    ) -> "FilterChain":
        from eqmail_core.filters.milter_filter import MilterFilter

        milters = [MilterFilter(entry, self._health, new_connection()) for entry in self._milters if has_milters]
        if not self._checks:
            return FilterChain([], milters)
        from eqmail_core.filters.python_checks import CheckFilter

        calls = new_calls()
        return FilterChain([CheckFilter(entry, check, self._log, calls) for entry, check in self._checks], milters)

    def _log(self, text: str) -> None:
        self._write_log(text.encode("utf-8", "replace"))


def load_checks(entries: "Sequence[FilterEntry] | None") -> "list[tuple[FilterEntry, LoadedCheck]]":
    """Load the checks of these entries at the first call; later calls find them in memory."""
    if not entries:
        return []
    from eqmail_core.filters.check_loading import load_check

    return [(entry, load_check(entry.name.decode("utf-8", "replace"))) for entry in entries]


def read_filters(controls: "Controls", write_log: "Callable[[bytes], None]") -> FilterConfig | None:
    """Read the filters of the settings.

    None if there are none, so that none are queried.  Fails: ControlError.
    """
    if not controls.milters and not controls.smtpchecks:
        return None
    return FilterConfig(
        controls.milters or [], load_checks(controls.smtpchecks), controls.quarantineto or None, write_log
    )


class FilterChain:
    """The filters of one session: checks `before` the server's own decision, milters `after`."""

    __slots__ = ("after", "before")

    def __init__(self, before: "Sequence[CheckFilter]", after: "Sequence[MilterFilter]") -> None:
        self.before = before
        self.after = after

    def new_id(self) -> bytes:
        """Return a transaction id that is unique on this host."""
        return b"%X" % time.time_ns()

    def close(self) -> None:
        """End with the session."""
        filters: tuple[CheckFilter | MilterFilter, ...] = (*self.before, *self.after)
        for one in filters:
            one.close()
