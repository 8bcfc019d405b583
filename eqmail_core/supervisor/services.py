"""The services of an installation in the order of their starts: code, sockets and rank.

The local spawner starts first: it forks most, and so carries no code of other services.  Later services share the code
of earlier ones.

Source: docs/INTERNALS.md section 4; docs/SECURITY.md.
"""

import os
import socket
from functools import partial
from importlib import import_module
from signal import SIGALRM, SIGHUP
from typing import TYPE_CHECKING

from eqmail_core.control.controls import Controls
from eqmail_core.dns import resolver
from eqmail_core.mail import domain_name
from eqmail_core.service.record import write_listeners, write_record, write_reload
from eqmail_core.site.site import Site
from eqmail_core.smtpd.server.connection_counts import ProcessCounters, SharedCounters
from eqmail_core.supervisor.service_manager import ServiceManager
from eqmail_core.supervisor.service_process import SupervisedService
from eqmail_core.supervisor.start import listen_for_services, listen_for_workers, lock_installation, smtp_listeners
from eqmail_core.supervisor.supervisor import Supervisor, logging_services
from eqmail_core.system.installation import read_controls

if TYPE_CHECKING:
    from eqmail_core.smtpd.server.listener import SmtpListener

DEFAULT_DELIVERY = b"./Mailbox"

_QUEUE, _SCHEDULER = "eqmail_core.queue.service.service", "eqmail_core.scheduler.service"
_REMOTE, _LOCAL = "eqmail_core.remote.service", "eqmail_core.local.service.spawner"
_SMTP = "eqmail_core.smtpd.server.service"


def supervisor(
    site: Site, environ: dict[bytes, bytes], addresses: list[str], words: list[bytes], service_manager: ServiceManager
) -> Supervisor:
    """Create the supervisor; SMTP is served at `addresses`.

    `words` are the default delivery and the command of the logger.
    Fails: StartError, ValueError, OSError.
    """
    lock_installation(site)
    caller_stderr = os.dup(2)  # before it becomes the log
    controls = read_controls(site, environ)
    services = build_services(site, controls, addresses, words)
    return Supervisor(
        services,
        service_manager,
        partial(write_record, site),
        controls.stopseconds,
        caller_stderr,
        partial(write_reload, site),
    )


def build_services(site: Site, controls: Controls, addresses: list[str], words: list[bytes]) -> list[SupervisedService]:
    """The services in the order of their starts.  Fails: StartError, OSError."""
    home = site.home
    tcp = smtp_listeners(addresses, controls.smtplisten or [])
    write_listeners(site, [sock.address for sock in tcp])
    services, log_fd = logging_services(site, [os.fsdecode(word) for word in words[1:]])
    with_handover = bool(tcp) if controls.smtphandover is None else controls.smtphandover
    at = listen_for_services(site, with_handover)
    default = words[0] if words else DEFAULT_DELIVERY
    carry = controls.localcarrier, local_share(site, controls)
    deliver = partial(_run_local, site, default, at["local"], at["lookup"], *carry)
    remotes = listen_for_workers(site, "remote", at["remote"], controls.remoteworkers)
    schedule = partial(_run_scheduler, site, log_fd, list(remotes), at["send"])
    services += [
        SupervisedService(
            "lspawn",
            deliver,
            [at["local"], at["lookup"]],
            2,
            load=partial(import_module, _LOCAL),
            purpose=f"local deliveries of {home}",
        ),
        # The successor of qmail-clean: it alone, as qmailq, removes files of the queue.
        SupervisedService(
            *("queue", partial(_run_queue, site, at["queue"]), [at["queue"]], 3),
            load=partial(import_module, _QUEUE),
            program="qmail-clean",
            purpose=f"queue of {home}",
        ),
        *(
            SupervisedService(
                *("remote", partial(_run_remote, site, sock), [sock], 2, (SIGHUP,), _load_remote),
                program="qmail-rspawn",
                purpose=f"remote deliveries of {home}",
            )
            for sock in remotes.values()
        ),
        SupervisedService(
            "send", schedule, [at["send"]], 1, (SIGHUP, SIGALRM), _load_scheduler, purpose=f"scheduler of {home}"
        ),
    ]
    load_smtp = partial(import_module, _SMTP)
    handover = at.get("smtp")
    sockets: list[socket.socket] = [*tcp] if handover is None else [*tcp, handover]
    for counters in SharedCounters(max(1, controls.smtpworkers)).all_counters() if sockets else ():
        serve = partial(_run_smtp, site, tcp, counters, handover)
        kept = (counters.counters.fd,)
        purpose = f"{' '.join(sock.address for sock in tcp) or 'connections of other programs'} of {home}"
        services.append(SupervisedService("smtpd", serve, sockets, 0, (SIGHUP,), load_smtp, kept=kept, purpose=purpose))
    return services


def local_share(site: Site, controls: Controls) -> int:
    """The maximum of concurrent local deliveries of one account: by default half of all.

    In a single-user installation one account may have all of them.
    """
    places = min(controls.concurrencylocal, site.spawn)
    return controls.localperuser or (places if site.single_user else max(1, places // 2))


# The code of a service is loaded before its first start, so that later processes share it, and named where it runs.


def _load_scheduler() -> None:
    import_module(_SCHEDULER)
    domain_name.preload()


def _load_remote() -> None:
    import_module(_REMOTE)
    resolver.preload()
    domain_name.preload()


def _run_queue(site: Site, listener: socket.socket) -> None:
    from eqmail_core.queue.service.service import run

    run(site, listener)


def _run_scheduler(site: Site, log_fd: int, remotes: list[str], control: socket.socket) -> None:
    from eqmail_core.scheduler.service import run

    run(site, log_fd, remotes, control)


def _run_remote(site: Site, listener: socket.socket) -> None:
    from eqmail_core.remote.service import run

    run(site, listener)


def _run_local(
    site: Site,
    default_delivery: bytes,
    listener: socket.socket,
    lookup_listener: socket.socket,
    with_carrier: bool,
    at_once: int,
) -> None:
    from eqmail_core.local.service.spawner import run

    run(site, default_delivery, listener, lookup_listener, with_carrier, at_once)


def _run_smtp(
    site: Site, listeners: "list[SmtpListener]", counters: ProcessCounters, handover: "socket.socket | None"
) -> None:
    from eqmail_core.smtpd.server import service as smtp

    smtp.run(site, listeners, counters, handover)
