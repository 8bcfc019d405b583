"""qmail-start [--smtp ADDRESS:PORT]... [defaultdelivery [logger [arg...]]]: start and keep all services.

Without --smtp or sockets from a service manager, smtplisten says where SMTP is served.  Each service loads its code in
its own process before it gives up root, so that every fork is small.  Exits: 0 after TERM, 100 usage, 111 cannot start.
"""

import os
import socket
from functools import partial
from signal import SIGALRM, SIGHUP

from eqmail_core.services import local, queue, remote, send, start
from eqmail_core.system.installation import read_controls, read_site
from eqmail_core.system.log import in_words, say
from eqmail_core.system.notify import herald
from eqmail_core.system.tally import Share, Tally
from eqmail_core.values.site import Site


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Run the services in the foreground until TERM."""
    words, addresses = argv[1:], []
    while len(words) > 1 and words[0] == b"--smtp":
        addresses.append(os.fsdecode(words[1]))
        words = words[2:]
    if words and words[0].startswith(b"--"):
        say(start.NAME, "usage: qmail-start [--smtp ADDRESS:PORT]... [defaultdelivery [logger [arg...]]]")
        return 100
    try:
        site = read_site(environ)
        start.supervise(_staff(site, environ, addresses, words), herald(os.environb))
    except (start.CannotStart, ValueError, OSError) as reason:
        say(start.NAME, f"fatal: {reason}" if isinstance(reason, start.CannotStart) else b"fatal: " + in_words(reason))
        return herald(os.environb).failed(111)
    return 0


def _staff(site: Site, environ: dict[bytes, bytes], addresses: list[str], words: list[bytes]) -> list[start.Service]:
    """Every service with its sockets, in the order of starting."""
    start.lock_installation(site)
    controls = read_controls(site, environ)
    tcp = start.smtp_listeners(addresses, controls.smtplisten or [])
    staff, log_fd = start.logging_staff(site, [os.fsdecode(word) for word in words[1:]])
    at = start.listen_for_services(site)
    deliver = partial(local.run, site, words[0] if words else b"./Mailbox", at["local"], at["lookup"])
    staff.append(start.Service("queue", partial(queue.run, site, at["queue"]), [at["queue"]], 3))
    staff.append(start.Service("lspawn", deliver, [at["local"], at["lookup"]], 2))
    staff.append(start.Service("remote", partial(remote.run, site, at["remote"]), [at["remote"]], 2, (SIGHUP,)))
    staff.append(start.Service("send", partial(send.run, site, log_fd, at["send"]), [at["send"]], 1, (SIGHUP, SIGALRM)))
    if tcp:
        for share in Tally(max(1, controls.smtpworkers)).shares():
            serve = partial(_serve_smtp, site, tcp, share)
            staff.append(start.Service("smtpd", serve, tcp, 0, (SIGHUP,)))
    return staff


def _serve_smtp(site: Site, listeners: list[socket.socket], share: Share) -> None:
    from eqmail_core.services import smtp

    smtp.run(site, listeners, share)
