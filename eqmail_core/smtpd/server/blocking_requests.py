"""Run the policy's requests in a program for one client: one after the other, blocking.

Light: no event loop.

Source: smtp-server.md 4.6, 4.8.
"""

import os
import select
import time

from eqmail_core.auth.checkpassword import ACCEPTED, REFUSED
from eqmail_core.auth.checkpassword_process import checker_outcome, start_checker
from eqmail_core.coroutines import run_blocking
from eqmail_core.dns.query import CLIENT_TIMEOUT_S, NO_ANSWER
from eqmail_core.smtpd.policy.plugin_protocol import PluginOutputReader, PluginResult
from eqmail_core.smtpd.policy.requests import (
    CHECKER_S,
    PLUGIN_S,
    SEARCH_S,
    AwaitEarlyTalker,
    CheckGreylist,
    CheckPassword,
    Delay,
    LookupKeys,
    LookupRecipient,
    QueryDns,
    QueryFilter,
    RunPlugin,
    RunSearch,
)
from eqmail_core.smtpd.server.helper_process import plugin_report, start_plugin
from eqmail_core.system.files import CHUNK, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any

    from eqmail_core.auth.scram import ScramKeys
    from eqmail_core.dns.query import DnsAnswer
    from eqmail_core.dns.resolver import BlockingResolver
    from eqmail_core.filters.verdict import FilterVerdict
    from eqmail_core.smtpd.policy.requests import PendingDecision, Request, RequestResult
    from eqmail_core.smtpd.protocol.events import Decision
    from eqmail_core.smtpd.server.greylist_database import GreylistDatabase
else:
    import _signal as signal


class BlockingRequestRunner:
    """Runs requests.

    `lookup_socket`: socket of the recipient lookup; `checker`: argv of the checkpassword program.
    `secrets_path`: users/smtpauth.
    `flush` sends pending output to the client; `speaks_within(seconds)` waits whether the client sends input.
    """

    __slots__ = ("_greylist", "_resolver", "checker", "flush", "lookup_socket", "secrets_path", "speaks_within")

    def __init__(
        self,
        lookup_socket: str,
        checker: list[bytes],
        flush: "Callable[[], None]",
        speaks_within: "Callable[[float], bool]",
        secrets_path: str,
    ) -> None:
        self.secrets_path = secrets_path
        self.lookup_socket = lookup_socket
        self.checker = checker
        self.flush = flush
        self.speaks_within = speaks_within
        self._resolver: BlockingResolver | None = None
        self._greylist: GreylistDatabase | None = None

    @property
    def resolver(self) -> "BlockingResolver":
        """The DNS resolver; created on first use, as few servers need it."""
        if self._resolver is None:
            from eqmail_core.dns.resolver import BlockingResolver

            self._resolver = BlockingResolver(timeout_s=CLIENT_TIMEOUT_S)
        return self._resolver

    def check_greylist(self, request: CheckGreylist) -> bytes:
        """Look up a sender in the database, which is opened at the first recipient."""
        # Imported here: few servers have greylisting.
        from eqmail_core.smtpd.server.greylist_database import GreylistDatabase, check_greylist

        if self._greylist is None:
            self._greylist = GreylistDatabase(request.path)
        return check_greylist(self._greylist, request)

    def close(self) -> None:
        """End the connection to the database of the greylist."""
        if self._greylist is not None:
            self._greylist.close()

    def run(self, requests: "PendingDecision") -> "Decision":
        """Run all requests of a decision and return it.  Fails: as `flush` and `speaks_within` do."""
        outcome: RequestResult = None
        while True:
            try:
                request = requests.send(outcome)
            except StopIteration as end:
                verdict: Decision = end.value
                return verdict
            outcome = _WAYS[type(request)](self, request)


def _run_plugin(runner: BlockingRequestRunner, request: RunPlugin) -> PluginResult:
    started = start_plugin(request.argv, request.environ)
    if isinstance(started, PluginResult):
        return started
    pid, output = started
    reader = PluginOutputReader()
    deadline = time.monotonic() + PLUGIN_S
    while not reader.is_over:
        reader.receive(os.read(output, CHUNK) if _is_readable(output, deadline) else b"")
    os.close(output)
    return plugin_report(reader, _wait_for_exit(pid, deadline))


def _check_password(runner: BlockingRequestRunner, request: CheckPassword) -> int:
    is_proven = request.credentials.is_proven
    if is_proven is not None:
        return ACCEPTED if is_proven else REFUSED
    pid = start_checker(runner.checker, request.environ, request.credentials)
    return checker_outcome(_wait_for_exit(pid, time.monotonic() + CHECKER_S)) if pid > 0 else pid


def _is_readable(fd: int, deadline: float) -> bool:
    """Wait for input until the deadline; False if there is none."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _wait_for_exit(pid: int, deadline: float) -> int:
    """Wait for a child and return its exit code, negative for a signal.

    A lost child counts as crashed; a late one is killed.
    """
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        pass  # No pidfd on this system: wait without a deadline.
    else:
        if not _is_readable(handle, deadline):
            os.kill(pid, signal.SIGKILL)
        os.close(handle)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return -1


def _ask_dns(runner: BlockingRequestRunner, request: QueryDns) -> "list[DnsAnswer]":
    """Ask one question after the other, until the time limit."""
    if request.ahead:
        return []
    deadline = time.monotonic() + CLIENT_TIMEOUT_S
    answers = []
    for question in request.questions:
        left_s = deadline - time.monotonic()
        answers.append(runner.resolver.answer(question, left_s) if left_s > 0 else NO_ANSWER)
    return answers


def _run_search(runner: BlockingRequestRunner, request: RunSearch) -> "Any":
    if request.ahead:
        return None
    # Imported here: few servers check messages, and every process would pay for it.
    from eqmail_core.dns.search import run_search_blocking

    return run_search_blocking(runner.resolver, request.search, SEARCH_S)


def _await_silence(runner: BlockingRequestRunner, request: AwaitEarlyTalker) -> int:
    return int(runner.speaks_within(request.seconds))


def _check_greylist(runner: BlockingRequestRunner, request: CheckGreylist) -> bytes:
    return runner.check_greylist(request)


def _look_up_keys(runner: BlockingRequestRunner, request: LookupKeys) -> "ScramKeys | None":
    # Imported here: few clients prove a login in this way.
    from eqmail_core.auth.scram_secrets import ScramSecrets

    try:
        return ScramSecrets(runner.secrets_path, read_file).find(request.user)
    except OSError:
        return None


def _look_up(runner: BlockingRequestRunner, request: LookupRecipient) -> bytes:
    # Imported here: few servers look up recipients, and every process would pay for it.
    from eqmail_core.smtpd.server.blocking_recipient_lookup import look_up

    return look_up(runner.lookup_socket, request.recipient)


def _ask_filter(runner: BlockingRequestRunner, request: QueryFilter) -> "FilterVerdict":
    runner.flush()
    return run_blocking(request.filter.ask(request.question))


def _pause(runner: BlockingRequestRunner, request: Delay) -> None:
    runner.flush()
    time.sleep(request.seconds)


_WAYS: "dict[type[Request], Callable[[BlockingRequestRunner, Any], RequestResult]]" = {
    QueryDns: _ask_dns,
    QueryFilter: _ask_filter,
    AwaitEarlyTalker: _await_silence,
    CheckPassword: _check_password,
    CheckGreylist: _check_greylist,
    LookupKeys: _look_up_keys,
    LookupRecipient: _look_up,
    Delay: _pause,
    RunPlugin: _run_plugin,
    RunSearch: _run_search,
}
