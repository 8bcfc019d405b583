"""The filters that the settings name, and the panel of them that each conversation gets.

Light: how filters are asked is imported by those who have some.
"""

import time

from eqmail_core.control.filter_entries import FilterEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from eqmail_core.control.controls import Controls
    from eqmail_core.filters.async_milter import AsyncMilter
    from eqmail_core.filters.blocking_milter import BlockingMilter
    from eqmail_core.filters.check_loading import LoadedCheck
    from eqmail_core.filters.python_checks import AsyncCheck, BlockingCheck

NO_FILTERS_VARIABLE = b"NOMILTER"
"""A client whose environment has it is not shown to milters."""


class FilterConfig:
    """Milters and checks in their order; `quarantine_to`: who gets what milters set aside; `complain` is the log.

    Fails: never; a check that cannot be had is a filter all the same, with the opinion that its entry says.
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

    def blocking_chain(self, environ: dict[bytes, bytes]) -> "FilterChain":
        """For a program that serves the client of this environment."""
        from eqmail_core.filters.blocking_milter import BlockingMilter

        milters = [BlockingMilter(entry, self._health) for entry in self._filters_for(environ)]
        if not self._checks:
            return FilterChain([], milters)
        from eqmail_core.filters.python_checks import BlockingCheck

        return FilterChain([BlockingCheck(entry, check, self._log) for entry, check in self._checks], milters)

    def async_chain(self, loop: "asyncio.AbstractEventLoop", environ: dict[bytes, bytes]) -> "FilterChain":
        """For a service that serves the client of this environment among others."""
        from eqmail_core.filters.async_milter import AsyncMilter

        milters = [AsyncMilter(entry, self._health, loop) for entry in self._filters_for(environ)]
        if not self._checks:
            return FilterChain([], milters)
        from eqmail_core.filters.python_checks import AsyncCheck

        return FilterChain([AsyncCheck(entry, check, self._log, loop) for entry, check in self._checks], milters)

    def _log(self, text: str) -> None:
        self._write_log(text.encode("utf-8", "replace"))

    def _filters_for(self, environ: dict[bytes, bytes]) -> "Sequence[FilterEntry]":
        return () if NO_FILTERS_VARIABLE in environ else self._milters


def load_checks(entries: "Sequence[FilterEntry] | None") -> "list[tuple[FilterEntry, LoadedCheck]]":
    """The checks of these names, loaded at the first call; later ones find them in memory."""
    if not entries:
        return []
    from eqmail_core.filters.check_loading import load_check

    return [(entry, load_check(entry.name.decode("utf-8", "replace"))) for entry in entries]


def read_filters(controls: "Controls", write_log: "Callable[[bytes], None]") -> FilterConfig | None:
    """The filters that the settings name; None where there is none, so that nobody has to ask.  Fails: ControlError."""
    if not controls.milters and not controls.smtpchecks:
        return None
    return FilterConfig(
        controls.milters or [], load_checks(controls.smtpchecks), controls.quarantineto or None, write_log
    )


class FilterChain:
    """The filters of one conversation: checks are asked `before` the house decides about a command, milters `after`."""

    __slots__ = ("after", "before")

    def __init__(
        self, before: "Sequence[BlockingCheck | AsyncCheck]", after: "Sequence[BlockingMilter | AsyncMilter]"
    ) -> None:
        self.before = before
        self.after = after

    @property
    def sees_messages(self) -> bool:
        """Whether any of them wants to see whole messages."""
        return bool(self.after) or any("message" in check.stages for check in self.before)

    def new_id(self) -> bytes:
        """A name for a transaction: no other has it on this host."""
        return b"%X" % time.time_ns()

    def close(self) -> None:
        """The client has gone."""
        for one in (*self.before, *self.after):
            one.close()
