"""One remote delivery in a straight program: what qmail-remote does.

Fails: never; every trouble is part of the report.
Source: delivery.md 5.6.
"""

import os

from eqmail_core.control.declared import Controls
from eqmail_core.control.kinds import ControlError
from eqmail_core.net.dial import dial, literal_address
from eqmail_core.net.own_addresses import own_addresses
from eqmail_core.net.smtp_dialogue import converse
from eqmail_core.policy.remote_plan import NO_CONNECTION, NO_CONTROLS, Surroundings, plan_delivery
from eqmail_core.protocols.smtp_auth import Credentials
from eqmail_core.protocols.smtp_client import TRY_NEXT, SmtpClient
from eqmail_core.services.remote.slow_hosts import SlowHosts
from eqmail_core.services.remote.tls_demand import refuse_plain_text
from eqmail_core.system.files import CHUNK
from eqmail_core.values.outcome import Failure, Permanent, Temporary
from eqmail_core.values.site import Site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.policy.mx import Search
    from eqmail_core.policy.remote_plan import RemotePlan
    from eqmail_core.values.lookup import Answer, Question


def deliver_once(
    site: Site, controls: Controls, arguments: list[bytes], ask: "Callable[[Question], Answer] | None" = None
) -> bytes:
    """Deliver the message on descriptor 0; `arguments` are host, sender and recipients.  Returns the report.

    `ask` answers questions to the DNS; without it the system's name servers do.
    """
    try:
        if len(arguments) < 3:
            raise Permanent(b"I (qmail-remote) was invoked improperly. (#5.3.5)")
        return _deliver(site, controls, arguments, ask)
    except ControlError:
        failure: Failure = Temporary(NO_CONTROLS)
    except MemoryError:
        failure = Temporary(b"Out of memory. (#4.3.0)")
    except OSError:
        failure = Temporary(b"System resources temporarily unavailable. (#4.3.0)")
    except Failure as known:
        failure = known
    return message_report(failure)


def message_report(failure: Failure) -> bytes:
    """A failure as qmail-remote's report about the message."""
    return failure.outcome + failure.text + b"\n\0"


def _deliver(
    site: Site, controls: Controls, arguments: list[bytes], ask: "Callable[[Question], Answer] | None"
) -> bytes:
    host, sender, *recipients = arguments
    hello = controls.helohost
    if hello is None:
        raise Temporary(NO_CONTROLS)
    timeout_s = controls.timeoutremote
    connect_s = controls.timeoutconnect
    world = Surroundings(literal_address, own_addresses, _shuffle)
    plan = _answered(plan_delivery(host, sender, recipients, controls.smtproutes, world), ask)
    slow_hosts = SlowHosts(site.queue.tcpto)
    route = plan.route
    credentials = None if route.user is None else Credentials(route.user, route.password)
    for candidate in plan.candidates:
        if slow_hosts.should_skip(candidate.ip, os.getpid()):
            continue
        refuse_plain_text(site, candidate, route.port)
        try:
            sock = dial(candidate.ip, route.port, connect_s)
        except OSError as error:
            slow_hosts.failed(candidate.ip, error.errno or 0)
            continue
        slow_hosts.works(candidate.ip)
        client = SmtpClient(candidate.ip.encode(), hello, credentials)
        client.begin(plan.sender, plan.recipients)
        with sock:
            converse(sock, client, lambda: os.read(0, CHUNK), timeout_s)
        if client.status != TRY_NEXT:
            return client.report
    raise Temporary(NO_CONNECTION)


def _shuffle(items: list[tuple[int, bytes]]) -> None:
    # Most runs have nothing to shuffle, and pay no import.
    from random import shuffle

    shuffle(items)


def _answered(search: "Search[RemotePlan]", ask: "Callable[[Question], Answer] | None") -> "RemotePlan":
    """Run a search to its end; name servers are looked for only when there is a question."""
    try:
        questions = next(search)
        if ask is None:
            from eqmail_core.net.resolver import BlockingResolver

            ask = BlockingResolver().answer
        while True:
            questions = search.send([ask(question) for question in questions])
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration is not generic
