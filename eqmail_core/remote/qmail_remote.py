"""One remote delivery in a blocking program: qmail-remote.

Fails: never; every error is part of the report.
Source: delivery.md 5.6.
"""

import os
import time

from eqmail_core.auth.client import ClientCredentials
from eqmail_core.control.controls import Controls
from eqmail_core.control.folders import DKIM_KEYS
from eqmail_core.control.setting import ControlError
from eqmail_core.dns.query import NO_ANSWER
from eqmail_core.dns.validation import ValidationTrust, trust_of
from eqmail_core.dsn.parameters import DsnParameters
from eqmail_core.mail.received import is_beyond_ascii
from eqmail_core.outcome import Failure, PermanentFailure, TemporaryFailure
from eqmail_core.queue.return_paths import read_return_paths
from eqmail_core.remote.plan import (
    NO_CONTROLS,
    Attempts,
    PlanEnvironment,
    names_of_this_host,
    needs_utf8,
    plan_delivery,
)
from eqmail_core.remote.tcpto import TcptoCache
from eqmail_core.remote.tls_policy import choose_policy, client_contexts, may_go_plain, policy_for
from eqmail_core.site.site import Site
from eqmail_core.smtp.blocking_client import run_client
from eqmail_core.smtp.client import SmtpClient
from eqmail_core.smtp.connect import dial, literal_address
from eqmail_core.smtp.exchange import TRY_NEXT
from eqmail_core.system.files import CHUNK
from eqmail_core.system.message_file import MessageFile
from eqmail_core.system.own_addresses import own_addresses
from eqmail_core.text.error_text import error_text
from eqmail_core.tls.client_policy import IMPLICIT_TLS_PORT, PLAIN, TlsPolicy
from eqmail_core.tls.policy import UnusableServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from eqmail_core.dns.mx import MxCandidate, Search
    from eqmail_core.dns.query import DnsAnswer, DnsQuestion
    from eqmail_core.remote.plan import RemotePlan
    from eqmail_core.smtp.client_tls import ClientTls

    Found = TypeVar("Found")


def deliver_once(
    site: Site,
    controls: Controls,
    arguments: list[bytes],
    ask: "Callable[[DnsQuestion], DnsAnswer] | None" = None,
    implicit_tls_port: int = IMPLICIT_TLS_PORT,
) -> bytes:
    """Deliver the message on descriptor 0 and return the report.

    `arguments`: host, sender and recipients.  `ask` answers DNS questions; without it the system's name servers do.
    """
    try:
        if len(arguments) < 3:
            raise PermanentFailure(b"I (qmail-remote) was invoked improperly. (#5.3.5)")
        return _deliver(site, controls, arguments, ask, implicit_tls_port)
    except ControlError:
        failure: Failure = TemporaryFailure(NO_CONTROLS)
    except MemoryError:
        failure = TemporaryFailure(b"Out of memory. (#4.3.0)")
    except OSError:
        failure = TemporaryFailure(b"System resources temporarily unavailable. (#4.3.0)")
    except Failure as known:
        failure = known
    return message_report(failure)


def message_report(failure: Failure) -> bytes:
    """Convert a failure to qmail-remote's report about the message."""
    return failure.outcome + failure.text + b"\n\0"


def _deliver(
    site: Site,
    controls: Controls,
    arguments: list[bytes],
    ask: "Callable[[DnsQuestion], DnsAnswer] | None",
    implicit_tls_port: int,
) -> bytes:
    host, sender, *recipients = arguments
    hello = controls.helohost
    if hello is None:
        raise TemporaryFailure(NO_CONTROLS)
    return_paths = read_return_paths(controls)
    if return_paths is not None:
        sender = return_paths.leaving(sender, _is_forward)
    connection = _Connections(site, controls, hello)
    environment = PlanEnvironment(literal_address, own_addresses, _shuffle)
    own_names = names_of_this_host(controls.me, hello)
    search = plan_delivery(host, sender, recipients, controls.smtproutes, environment, own_names)
    asking = _Asking(ask, trust_of(controls.dnssec), controls.timeoutdns)
    plan: RemotePlan = asking.answered(search)
    tcpto = connection.tcpto
    attempts = connection.attempts
    until = time.monotonic() + controls.timeoutaddresses
    for number, candidate in enumerate(plan.candidates):
        if number and time.monotonic() >= until:
            break
        if tcpto.should_skip(candidate.ip, os.getpid()):
            attempts.record_skipped(candidate, plan.route.port)
            continue
        files = policy_for(site, candidate.name, plan.route.port == implicit_tls_port)
        # This program gets no envelope parameters, so nothing says REQUIRETLS.
        tls = asking.answered(choose_policy(files, candidate, plan, False, None, connection.head))
        if isinstance(tls, UnusableServer):
            attempts.record_unusable(candidate, plan.route.port, tls)
            continue
        client = connection.try_one(candidate, plan, tls)
        if client and may_go_plain(client, tls, controls.tlsfallback, plan.route.user is not None):
            client = connection.try_one(candidate, plan, PLAIN)
        if client and client.status != TRY_NEXT:
            return client.report
        if client:
            attempts.record_refusal(client)
    raise attempts.failure


class _Connections:
    """State shared by all attempts of a delivery."""

    def __init__(self, site: Site, controls: Controls, hello: bytes) -> None:
        self._site = site
        self._controls = controls
        self._hello = hello
        self._timeout_s = controls.timeoutremote
        self._connect_s = controls.timeoutconnect
        self.tcpto = TcptoCache(site.queue.tcpto)
        self.attempts = Attempts()
        # The beginning of the message once it was read, and whether it needs SMTPUTF8.
        self._first: bytes | None = None
        self._is_read = False
        self._dsn: DsnParameters | None = None
        self._signatures: bytes | None = None

    def try_one(self, candidate: "MxCandidate", plan: "RemotePlan", tls: TlsPolicy) -> SmtpClient | None:
        """Offer the message to one address; None if there is no connection."""
        route = plan.route
        if self._signatures is None:
            self._signatures = self._sign()
        try:
            sock = dial(candidate.ip, route.port, self._connect_s, self._controls.outgoingip or ())
        except OSError as error:
            self.tcpto.record_failure(candidate.ip, error.errno or 0)
            self.attempts.record_failed(candidate, route.port, error_text(error.errno))
            return None
        self.tcpto.record_success(candidate.ip)
        credentials = None if route.user is None else ClientCredentials(route.user, route.password)
        client = SmtpClient(candidate.ip.encode(), self._hello, credentials, tls=tls)

        def secure() -> "ClientTls | None":
            return client_contexts(self._site, self._controls).open(
                client, candidate.name, tls, (candidate.ip, route.port)
            )

        if not self._is_read:
            self._is_read = True
            # This program gets no envelope parameters: only the header shows whether SMTPUTF8 is needed.
            if is_beyond_ascii(self.head()) and needs_utf8(plan, self._beginning()):
                self._dsn = DsnParameters(is_utf8=True)
        client.begin(plan.sender, plan.recipients, self._dsn)
        with sock:
            run_client(sock, client, self._read, self._timeout_s, secure)
        return client

    def head(self) -> bytes:
        """Return the beginning of the message."""
        if self._first is None:
            if self._signatures is None:
                self._signatures = self._sign()
            self._first = os.read(0, CHUNK)
        return self._first

    def _beginning(self) -> "Iterator[bytes]":
        """Yield the message from its beginning on demand; the pieces are kept."""
        piece = self._first
        while piece:
            yield piece
            piece = os.read(0, CHUNK)
            self._first = (self._first or b"") + piece

    def _sign(self) -> bytes:
        """Return the signature fields of the message, b"" for none; a pipe cannot be read twice."""
        if not os.path.isdir(f"{self._site.control}/{DKIM_KEYS}") or not _is_at_beginning():
            return b""
        # Imported here: it loads cryptography, and few hosts sign without the resident service.
        from eqmail_core.remote.signing import OriginRules, steps_of_signing
        from eqmail_core.remote.signing_keys import SigningKeys

        controls = self._controls
        rules = f"{self._site.control}/{Controls.tcprules_cdb.file}"
        origin = OriginRules(controls, names_of_this_host(controls.me, self._hello), rules)
        keys = SigningKeys(self._site.control)
        return next(found for found in steps_of_signing(origin, keys, MessageFile(0)) if found is not None)

    def _read(self) -> bytes:
        if self._signatures:
            signatures, self._signatures = self._signatures, b""
            return signatures
        piece, self._first = self._first, b""
        return piece or os.read(0, CHUNK)


def _is_forward() -> bool:
    """Return whether this host has forwarded the message; a pipe cannot be read twice."""
    if not _is_at_beginning():
        return False
    from eqmail_core.remote.signing import is_forward

    return is_forward(MessageFile(0))


def _is_at_beginning() -> bool:
    try:
        return os.lseek(0, 0, os.SEEK_CUR) == 0
    except OSError:
        return False


def _shuffle(items: list[tuple[int, bytes]]) -> None:
    # Most runs have nothing to shuffle, and avoid the import.
    from random import shuffle

    shuffle(items)


class _Asking:
    """Runs searches, each within a time limit; name servers are only read for a question."""

    def __init__(
        self, ask: "Callable[[DnsQuestion], DnsAnswer] | None", trust: ValidationTrust, within_s: float
    ) -> None:
        self._ask = ask
        self._trust = trust
        self._within_s = within_s

    def answered(self, search: "Search[Found]") -> "Found":
        """Run a search to its end."""
        until = time.monotonic() + self._within_s
        try:
            questions = next(search)
            if self._ask is None:
                from eqmail_core.dns.resolver import BlockingResolver

                self._ask = BlockingResolver(trust=self._trust).answer
            while True:
                questions = search.send([self._ask(it) if time.monotonic() < until else NO_ANSWER for it in questions])
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # StopIteration is not generic
