"""The services of an installation in the order of their starts: code, sockets and rank.

The local spawner starts first: it forks most, and so carries no code of other services.  Later services share the code
of earlier ones.

Source: docs/INTERNALS.md section 4; docs/SECURITY.md.
"""

import os
from functools import partial
from importlib import import_module
from signal import SIGALRM, SIGHUP
from typing import TYPE_CHECKING

from eqmail_core.control.controls import Controls
from eqmail_core.service.record import write_listeners, write_record
from eqmail_core.site.site import Site
from eqmail_core.smtpd.server.connection_counts import ProcessCounters, SharedCounters
from eqmail_core.supervisor import (
    local_service as local,
)
from eqmail_core.supervisor import (
    queue_service as queue,
)
from eqmail_core.supervisor import (
    remote_service as remote,
)
from eqmail_core.supervisor import (
    send_service as send,
)
from eqmail_core.supervisor.service_manager import ServiceManager
from eqmail_core.supervisor.service_process import SupervisedService
from eqmail_core.supervisor.start import listen_for_services, listen_for_workers, lock_installation, smtp_listeners
from eqmail_core.supervisor.supervisor import Supervisor, logging_services
from eqmail_core.system.installation import read_controls

if TYPE_CHECKING:
    import socket

    from eqmail_core.smtpd.server.listener import SmtpListener

DEFAULT_DELIVERY = b"./Mailbox"


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
    return Supervisor(services, service_manager, partial(write_record, site), controls.stopseconds, caller_stderr)


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
    deliver = partial(local.run, site, default, at["local"], at["lookup"], *carry)
    remotes = listen_for_workers(site, "remote", at["remote"], controls.remoteworkers)
    schedule = partial(send.run, site, log_fd, list(remotes), at["send"])
    services += [
        SupervisedService(
            "lspawn", deliver, [at["local"], at["lookup"]], 2, load=local.load, purpose=f"local deliveries of {home}"
        ),
        # The successor of qmail-clean: it alone, as qmailq, removes files of the queue.
        SupervisedService(
            *("queue", partial(queue.run, site, at["queue"]), [at["queue"]], 3),
            load=queue.load,
            program="qmail-clean",
            purpose=f"queue of {home}",
        ),
        *(
            SupervisedService(
                *("remote", partial(remote.run, site, sock), [sock], 2, (SIGHUP,), remote.load),
                program="qmail-rspawn",
                purpose=f"remote deliveries of {home}",
            )
            for sock in remotes.values()
        ),
        SupervisedService(
            "send", schedule, [at["send"]], 1, (SIGHUP, SIGALRM), send.load, purpose=f"scheduler of {home}"
        ),
    ]
    handover = at.get("smtp")
    sockets: list[socket.socket] = [*tcp] if handover is None else [*tcp, handover]
    for counters in SharedCounters(max(1, controls.smtpworkers)).all_counters() if sockets else ():
        serve = partial(_serve_smtp, site, tcp, counters, handover)
        kept = (counters.counters.fd,)
        purpose = f"{' '.join(sock.address for sock in tcp) or 'connections of other programs'} of {home}"
        services.append(
            SupervisedService("smtpd", serve, sockets, 0, (SIGHUP,), _load_smtp, kept=kept, purpose=purpose)
        )
    return services


def local_share(site: Site, controls: Controls) -> int:
    """The maximum of concurrent local deliveries of one account: by default half of all.

    In a single-user installation one account may have all of them.
    """
    places = min(controls.concurrencylocal, site.spawn)
    return controls.localperuser or (places if site.single_user else max(1, places // 2))


def _load_smtp() -> None:
    import_module("eqmail_core.smtpd.server.service")


def _serve_smtp(
    site: Site, listeners: "list[SmtpListener]", counters: ProcessCounters, handover: "socket.socket | None"
) -> None:
    from eqmail_core.smtpd.server import service as smtp

    smtp.run(site, listeners, counters, handover)
