"""The filters that the settings name, and the panel of them that each conversation gets.

Light: how filters are asked is imported by those who have some.
"""

import time

from eqmail_core.formats.filter_list import FilterEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from eqmail_core.net.check_loading import LoadedCheck
    from eqmail_core.net.milter_on_loop import LoopMilter
    from eqmail_core.net.milter_waiting import WaitingMilter
    from eqmail_core.net.python_checks import LoopCheck, WaitingCheck

NO_FILTERS_VARIABLE = b"NOMILTER"
"""A client whose environment has it is not shown to milters."""


class Filters:
    """Milters and checks in their order; `quarantine_to`: who gets what milters set aside; `complain` is the log.

    Fails: never; a check that cannot be had is a filter all the same, with the opinion that its entry says.
    """

    __slots__ = ("_checks", "_complain", "_health", "_milters", "quarantine_to")

    def __init__(
        self,
        milters: "Sequence[FilterEntry]",
        checks: "Sequence[FilterEntry]",
        quarantine_to: bytes | None,
        complain: "Callable[[str], None]",
    ) -> None:
        from eqmail_core.net.milter_filter import Health

        self._milters = milters
        self._checks: list[tuple[FilterEntry, LoadedCheck]] = []
        self._health = Health(complain)
        self._complain = complain
        self.quarantine_to = quarantine_to
        if checks:
            from eqmail_core.net.check_loading import load_check

            for entry in checks:
                check = load_check(entry.name.decode("utf-8", "replace"))
                self._checks.append((entry, check))
                if check.trouble:
                    complain(f"check {entry.name.decode('utf-8', 'replace')}: {check.trouble}")

    def waiting_panel(self, environ: dict[bytes, bytes]) -> "Panel":
        """For a program that serves the client of this environment."""
        from eqmail_core.net.milter_waiting import WaitingMilter

        milters = [WaitingMilter(entry, self._health, self.quarantine_to is not None) for entry in self._for(environ)]
        if not self._checks:
            return Panel([], milters)
        from eqmail_core.net.python_checks import WaitingCheck

        return Panel([WaitingCheck(entry, check, self._complain) for entry, check in self._checks], milters)

    def loop_panel(self, loop: "asyncio.AbstractEventLoop", environ: dict[bytes, bytes]) -> "Panel":
        """For a service that serves the client of this environment among others."""
        from eqmail_core.net.milter_on_loop import LoopMilter

        may_quarantine = self.quarantine_to is not None
        milters = [LoopMilter(entry, self._health, may_quarantine, loop) for entry in self._for(environ)]
        if not self._checks:
            return Panel([], milters)
        from eqmail_core.net.python_checks import LoopCheck

        return Panel([LoopCheck(entry, check, self._complain, loop) for entry, check in self._checks], milters)

    def _for(self, environ: dict[bytes, bytes]) -> "Sequence[FilterEntry]":
        return () if NO_FILTERS_VARIABLE in environ else self._milters


class Panel:
    """The filters of one conversation."""

    __slots__ = ("checks", "milters")

    def __init__(
        self, checks: "Sequence[WaitingCheck | LoopCheck]", milters: "Sequence[WaitingMilter | LoopMilter]"
    ) -> None:
        self.checks = checks
        self.milters = milters

    @property
    def sees_messages(self) -> bool:
        """Whether any of them wants to see whole messages."""
        return bool(self.milters) or any("message" in check.stages for check in self.checks)

    def new_id(self) -> bytes:
        """A name for a transaction: no other has it on this host."""
        return b"%X" % time.time_ns()

    def close(self) -> None:
        """The client has gone."""
        for one in (*self.checks, *self.milters):
            one.close()
