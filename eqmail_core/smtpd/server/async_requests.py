"""Run the policy's requests on the event loop of the resident service, without blocking.

Source: smtp-server.md 4.6, 4.8.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from eqmail_core.access.client_network import client_network
from eqmail_core.auth.checkpassword import NO_CHILD
from eqmail_core.auth.checkpassword_process import checker_outcome, start_checker
from eqmail_core.event_loop.async_process import PipeReader, kill, on_end
from eqmail_core.event_loop.child_slots import ChildSlots, Slot
from eqmail_core.filters.verdict import FilterVerdict, verdict_when_unavailable
from eqmail_core.smtpd.policy.authentication import is_refusal
from eqmail_core.smtpd.policy.plugin_protocol import PluginOutputReader, PluginResult
from eqmail_core.smtpd.policy.requests import (
    CHECKER_S,
    PLUGIN_S,
    AwaitEarlyTalker,
    CheckGreylist,
    CheckPassword,
    Delay,
    LookupKeys,
    LookupRecipient,
    QueryDns,
    QueryFilter,
    Request,
    RunPlugin,
    RunSearch,
)
from eqmail_core.smtpd.protocol.events import Decision
from eqmail_core.smtpd.server.context import ServerContext
from eqmail_core.smtpd.server.helper_process import plugin_report, start_plugin
from eqmail_core.system.repeated_lines import say_seldom
from eqmail_core.text.sanitize import plain

if TYPE_CHECKING:
    from eqmail_core.smtpd.policy.requests import PendingDecision, RequestResult

# Exit code of a checkpassword program after a wrong password (cr.yp.to/checkpwd/interface.html).
WRONG_PASSWORD = 1


class Client(Protocol):
    """The client of a pending decision."""

    seen: int

    @property
    def remote_ip(self) -> bytes:
        """Its address."""

    @property
    def checker(self) -> list[bytes]:
        """The argv of its checkpassword program."""

    @property
    def speaks(self) -> bool:
        """Whether the client has sent unprocessed input, or disconnected."""


class AsyncRequestRunner:
    """A pending decision: runs its requests, then calls `decided(verdict)` in a later turn."""

    __slots__ = ("_client", "_context", "_decided", "_give_up", "_query", "_requests", "_slot")

    def __init__(
        self, context: ServerContext, client: Client, requests: "PendingDecision", decided: Callable[[Decision], None]
    ) -> None:
        self._context = context
        self._client = client
        self._requests: PendingDecision | None = requests
        self._decided = decided
        # Ends the wait for a child.
        self._give_up: Callable[[], None] | None = None
        self._slot: Slot | None = None
        self._query: asyncio.Task[FilterVerdict] | None = None
        self._resume(None)

    def cancel(self) -> None:
        """Cancel the decision; a running child continues, and a waiting one is not started."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._slot is not None and not self._slot.has_begun:
            self._slot.leave()
        if self._query is not None:
            self._query.cancel()

    def kill_child(self) -> None:
        """Time out: end the wait for a child, if there is one."""
        if self._give_up is not None:
            self._give_up()

    def _resume(self, outcome: "RequestResult") -> None:
        if self._requests is None:
            return
        self._client.seen = self._context.now
        try:
            request = self._requests.send(outcome)
        except StopIteration as end:
            self._requests = None
            self._context.loop.call_soon(self._decided, end.value)
            return
        _WAYS[type(request)](self, request)

    def _resume_soon(self, outcome: "RequestResult") -> None:
        self._context.loop.call_soon(self._resume, outcome)

    # --- children

    def _run_plugin(self, request: RunPlugin) -> None:
        self._give_up = partial(self._ended, PluginResult([], b"fork() failed"))
        self._enter(self._context.plugins, partial(self._start_plugin, request))

    def _check_password(self, request: CheckPassword) -> None:
        self._give_up = partial(self._ended, NO_CHILD)
        self._enter(self._context.checkers, partial(self._start_checker, request))

    def _enter(self, slots: ChildSlots, start: Callable[[], None]) -> None:
        self._slot = slots.enter(client_network(self._client.remote_ip), start)

    def _not_started(self, outcome: "RequestResult") -> None:
        self._give_up = None
        self._context.loop.call_soon(self._ended, outcome)

    def _started(self, limit_s: float, give_up: Callable[[], None]) -> asyncio.TimerHandle:
        """Record a started child; `give_up` is called when its time is over."""
        self._give_up = give_up
        return self._context.loop.call_later(limit_s, give_up)

    def _ended(self, outcome: "RequestResult") -> None:
        """Record that a child has ended, or could not be started."""
        self._give_up = None
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.leave()
        self._resume(outcome)

    def _start_plugin(self, request: RunPlugin) -> None:
        started = start_plugin(request.argv, request.environ)
        if isinstance(started, PluginResult):
            self._not_started(started)
            return
        pid, output = started
        output_reader = PluginOutputReader()

        def receive(data: bytes) -> bool:
            output_reader.receive(data)
            if output_reader.is_over:
                on_end(self._context.loop, pid, ended)
            return not output_reader.is_over

        def ended(code: int) -> None:
            timer.cancel()
            self._ended(plugin_report(output_reader, code))

        def give_up() -> None:
            kill(pid)
            # Its descendants may hold the output open.
            reader.close()
            if not output_reader.is_over:
                receive(b"")

        reader = PipeReader(self._context.loop, output, receive)
        timer = self._started(PLUGIN_S, give_up)

    def _start_checker(self, request: CheckPassword) -> None:
        context, ip = self._context, self._client.remote_ip
        if context.is_guessing_passwords(ip):
            self._not_started(WRONG_PASSWORD)
            return
        is_proven = request.credentials.is_proven
        if is_proven is not None:
            if not is_proven:
                context.note_failure(ip)
            self._not_started(0 if is_proven else WRONG_PASSWORD)
            return
        pid = start_checker(self._client.checker, request.environ, request.credentials)
        if pid <= 0:
            self._not_started(pid)
            return
        timer = self._started(CHECKER_S, partial(kill, pid))

        def ended(code: int) -> None:
            timer.cancel()
            outcome = checker_outcome(code)
            if is_refusal(outcome):
                context.note_failure(ip)
            self._ended(outcome)

        on_end(context.loop, pid, ended)

    # --- other requests

    def _ask_dns(self, request: QueryDns) -> None:
        context = self._context
        answering = context.ask_dns(request.questions)
        if request.ahead:
            self._resume_soon([])
        else:
            answering.add_done_callback(lambda task: self._resume([] if task.cancelled() else task.result()))

    def _run_search(self, request: RunSearch) -> None:
        searching = self._context.run_search(request.search)
        if request.ahead:
            self._resume_soon(None)
        else:
            searching.add_done_callback(self._found)

    def _found(self, task: "asyncio.Task[Any]") -> None:
        """Resume with what a search found, None after a bug in it, so that the client gets an answer."""
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            say_seldom("qmail-smtpd", f"error: a search failed: {plain(repr(error).encode()).decode('latin-1')}")
        self._resume(None if error is not None else task.result())

    def _await_silence(self, request: AwaitEarlyTalker) -> None:
        self._context.loop.call_later(request.seconds, lambda: self._resume(int(self._client.speaks)))

    def _look_up_keys(self, request: LookupKeys) -> None:
        try:
            keys = self._context.config.find_scram_keys(request.user)
        except OSError:
            keys = None
        self._resume_soon(keys)

    def _look_up(self, request: LookupRecipient) -> None:
        self._context.recipient_lookup.ask(request.recipient, self._resume_soon)

    def _ask_filter(self, request: QueryFilter) -> None:
        self._query = self._context.loop.create_task(request.filter.ask(request.question))
        self._query.add_done_callback(self._filter_answered)

    def _filter_answered(self, query: "asyncio.Task[FilterVerdict]") -> None:
        self._query = None
        if query.cancelled():
            return
        problem = query.exception()
        if problem is None:
            self._resume(query.result())
            return
        # A mistake of ours must not leave the client without an answer.
        self._context.loop.call_exception_handler({"message": "a filter failed", "exception": problem})
        self._resume(verdict_when_unavailable(b"tempfail"))

    def _check_greylist(self, request: CheckGreylist) -> None:
        self._context.check_greylist(request, self._resume)

    def _pause(self, request: Delay) -> None:
        self._context.loop.call_later(request.seconds, self._resume, None)


_WAYS: dict[type[Request], Callable[[AsyncRequestRunner, Any], None]] = {
    QueryDns: AsyncRequestRunner._ask_dns,
    QueryFilter: AsyncRequestRunner._ask_filter,
    AwaitEarlyTalker: AsyncRequestRunner._await_silence,
    CheckPassword: AsyncRequestRunner._check_password,
    CheckGreylist: AsyncRequestRunner._check_greylist,
    LookupKeys: AsyncRequestRunner._look_up_keys,
    LookupRecipient: AsyncRequestRunner._look_up,
    Delay: AsyncRequestRunner._pause,
    RunPlugin: AsyncRequestRunner._run_plugin,
    RunSearch: AsyncRequestRunner._run_search,
}
