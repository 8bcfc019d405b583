"""The resident SMTP service: receives mail as qmaild and passes it to the queue service.

Clients connect by TCP, or are handed over by programs started for them (smtpd/server/handover_receiver.py).

After HUP, or when a first certificate appears, new sessions use the current settings.  After TERM, open transactions
may end, for half a minute at most.

Fails: a start that cannot succeed is one line on standard error and SystemExit(111).
Source: docs/INTERNALS.md, smtp-server.md.
"""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from eqmail_core.access import rcpthosts_database as domains_db
from eqmail_core.auth.secrets_file import FILE as SECRETS
from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import ControlError
from eqmail_core.dns import resolver
from eqmail_core.event_loop.event_loop import begin_service, new_event_loop
from eqmail_core.filters import async_milter as milter_on_loop
from eqmail_core.filters import python_checks
from eqmail_core.filters.chain import load_checks
from eqmail_core.mail import domain_name
from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.queue import routing
from eqmail_core.queue.client.async_service import AsyncQueueClient
from eqmail_core.service.readiness import tell_failure, tell_ready
from eqmail_core.site.site import Site
from eqmail_core.smtpd.policy import dnsbl as blocklists
from eqmail_core.smtpd.policy import greylisting, recipient_lookup
from eqmail_core.smtpd.server.async_recipient_lookup import RecipientLookupClient
from eqmail_core.smtpd.server.async_session import AsyncSmtpSession
from eqmail_core.smtpd.server.auth_methods import checkable
from eqmail_core.smtpd.server.connection_counts import ProcessCounters
from eqmail_core.smtpd.server.context import ServerContext
from eqmail_core.smtpd.server.handover_receiver import HandoverListener
from eqmail_core.smtpd.server.listener import SmtpListener
from eqmail_core.smtpd.server.service_settings import read_settings
from eqmail_core.system.descriptor_limit import raise_descriptor_limit
from eqmail_core.system.files import file_fingerprint
from eqmail_core.system.installation import read_controls
from eqmail_core.system.log import log_line
from eqmail_core.system.own_addresses import own_addresses
from eqmail_core.system.privileges import PrivilegeError
from eqmail_core.system.repeated_lines import say_seldom

NAME = "smtpd"

# Other programs import these on demand; here they must be loaded before the role is assumed.
_LATER_NEEDED = (
    milter_on_loop,
    python_checks,
    own_addresses,
    domains_db,
    blocklists,
    greylisting,
    recipient_lookup,
    routing,
)

_SWEEP_S = 1.0
_GRACE_S = 30.0
_BACKLOG = 1024

# Young objects created before a collection: sessions hardly make cycles, and collections cost time.
_GC_THRESHOLD = 20_000


def run(
    site: Site,
    listeners: list[SmtpListener],
    counters: ProcessCounters | None = None,
    handover: socket.socket | None = None,
) -> None:
    """Serve on `listeners` until TERM; `counters`: this process's part of the shared counters.

    On `handover`, if given, programs hand over the clients for which they were started.
    """
    environ = dict(os.environb)
    try:
        resolver.preload()
        domain_name.preload()
        begin_service(site, "qmaild")
        os.chdir(site.home)
        # Foreign code: it never runs with more rights than a client's session has.
        load_checks(read_controls(site, environ).smtpchecks)
        settings = read_settings(site, environ, _ports(listeners), _log)
    except (PrivilegeError, ControlError, OSError) as reason:
        _fail(str(reason))
    raise_descriptor_limit()
    loop = new_event_loop()
    link = AsyncQueueClient(loop, site.socket("queue"))
    context = ServerContext(loop, settings, link, RecipientLookupClient(loop, site.socket("lookup"), _log), counters)
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    try:
        loop.run_until_complete(_serve(site, context, listeners, environ, handover))
    finally:
        context.write_log()
        link.close()
        loop.close()


def _ports(listeners: list[SmtpListener]) -> set[int]:
    return {listener.getsockname()[1] for listener in listeners}


def _log(what: bytes) -> None:
    say_seldom(NAME, f"warning: {what.decode('utf-8', 'replace')}")


async def _serve(
    site: Site,
    context: ServerContext,
    listeners: list[SmtpListener],
    environ: dict[bytes, bytes],
    handover: socket.socket | None,
) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGINT, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, _renew, site, context, listeners, environ)
    servers = [
        await loop.create_server(partial(AsyncSmtpSession, context, listener.role), sock=listener, backlog=_BACKLOG)
        for listener in listeners
    ]
    handovers = None if handover is None else HandoverListener(context, handover)
    tell_ready()
    renew = partial(_renew, site, context, listeners, environ)
    looks = _certificate_watch(site, context, renew), _secrets_watch(site, context, environ, renew)
    sweeper = loop.create_task(_sweep(context, looks))
    await stopped.wait()
    for server in servers:
        server.close()
    if handovers is not None:
        handovers.close()
    context.close_when_idle()
    deadline = loop.time() + _GRACE_S
    while context.sessions and loop.time() < deadline:
        await asyncio.sleep(0.05)
    sweeper.cancel()
    context.close()


async def _sweep(context: ServerContext, looks: tuple[Callable[[], None], ...]) -> None:
    while True:
        await asyncio.sleep(_SWEEP_S)
        context.sweep()
        for look in looks:
            look()


def _certificate_watch(site: Site, context: ServerContext, renew: Callable[[], None]) -> Callable[[], None]:
    """Watch for the first certificate; changes of one in use are detected anyway."""
    path = f"{site.control}/{Controls.servercert.file}"
    seen = file_fingerprint(path)

    def look() -> None:
        nonlocal seen
        if context.config.tls is None:
            before, seen = seen, file_fingerprint(path)
            if seen is not None and seen != before:
                renew()

    return look


def _secrets_watch(
    site: Site, context: ServerContext, environ: dict[bytes, bytes], renew: Callable[[], None]
) -> Callable[[], None]:
    """Watch for the first secret of another kind: it allows other AUTH methods."""
    path = f"{site.users}/{SECRETS}"

    def methods() -> tuple[bytes, ...]:
        checker = context.config.checker
        try:
            return checkable(site, read_controls(site, environ), checker) if checker else ()
        except ControlError:
            return ()

    seen, known = file_fingerprint(path), methods()

    def look() -> None:
        nonlocal seen, known
        before, seen = seen, file_fingerprint(path)
        if seen != before:
            old, known = known, methods()
            if old != known:
                renew()

    return look


def _renew(site: Site, context: ServerContext, listeners: list[SmtpListener], environ: dict[bytes, bytes]) -> None:
    try:
        context.replace_config(read_settings(site, environ, _ports(listeners), _log))
    except (ControlError, OSError) as reason:
        log_line(NAME, f"alert: unable to reread controls, the old ones stay: {reason}")


def _fail(reason: str) -> NoReturn:
    tell_failure(reason)
    log_line(NAME, f"fatal: {reason}")
    raise SystemExit(EXIT_TEMPORARY)
