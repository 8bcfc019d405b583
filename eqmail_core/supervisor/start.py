"""Prepares the start of the services: the lock of the installation and all sockets.

Every listening socket is created here, before the first service runs, with the owner and mode that decide which account
may connect.  A service inherits only its own sockets.  So services may connect to each other at once, in any order.
When one dies, its clients wait in the backlog of a socket that stays open.  The parent holds no connection and parses
nothing.

Fails: StartError with one sentence for the administrator, before anything was forked.
Source: programs.md 1.4; docs/SECURITY.md.
"""

import fcntl
import grp
import os
import pwd
import socket
from collections.abc import Iterator

from eqmail_core.control.controls import Controls
from eqmail_core.ipc.packet_socket import listen_at
from eqmail_core.site.site import Site
from eqmail_core.smtpd.server.listener import SmtpListener
from eqmail_core.supervisor.service_manager import given_listeners
from eqmail_core.system.log import log_line
from eqmail_core.text.invisible_characters import visible
from eqmail_core.text.listen_address import WANTED, parse_listen_address

SMTP_BACKLOG = 1024
# The owner of each socket, which may connect besides root, and its mode; 0666 admits everyone.
_SOCKETS = {
    "queue": ("qmailq", 0o666),
    "local": ("qmails", 0o600),
    "lookup": ("qmaild", 0o600),
    "remote": ("qmails", 0o600),
    "send": ("qmails", 0o600),
}
_HANDOVER = {"smtp": ("qmaild", 0o600)}
# Sockets on which clients never pass descriptors.
_WITHOUT_DESCRIPTORS = ("queue", "lookup", "send")


class StartError(Exception):
    """Why nothing was started, and how to correct it."""


def lock_installation(site: Site) -> int:
    """Take the lock that only one parent per installation can hold; it ends with this process."""
    try:
        fd = os.open(f"{site.run}/start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"{site.run}/start.lock: {error.strerror}; run: eqmail --home {site.home} setup") from error
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        os.close(fd)
        raise StartError(f"the services of {site.home} are running already") from error
    return fd


def listen_for(site: Site, name: str, role: str | None, mode: int) -> socket.socket:
    """Create the Unix socket of a service; with `mode` 0600 only its owner `role` may connect."""
    uid = gid = -1
    try:
        if role and not site.single_user:
            uid = pwd.getpwnam(site.accounts.user(role)).pw_uid
            gid = grp.getgrnam(site.accounts.group(role)).gr_gid
        return listen_at(site.socket(name), mode, uid, gid, refuses_descriptors=name in _WITHOUT_DESCRIPTORS)
    except KeyError as missing:
        raise StartError(f"{missing}; create the accounts with: eqmail mkusers") from missing
    except OSError as error:
        raise StartError(f"{site.socket(name)}: {error.strerror}") from error


def listen_on(address: str) -> SmtpListener:
    """Create a TCP socket on a listen address (text/listen_address.py), shared by all inheriting workers.

    Fails: StartError.
    """
    at = parse_listen_address(address)
    if at is None:
        raise StartError(f"{address!r} {WANTED}")
    family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
    sock = SmtpListener(family, socket.SOCK_STREAM)
    sock.role = at.role
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((at.host, at.port))
        sock.listen(SMTP_BACKLOG)
    except OSError as error:
        sock.close()
        raise StartError(f"cannot listen on {address}: {error.strerror}") from error
    return sock


def listen_for_services(site: Site, with_handover: bool = False) -> dict[str, socket.socket]:
    """Create the Unix sockets of all services, by name.

    With `with_handover`, the socket at which clients are handed over is included.
    """
    wanted = _SOCKETS | _HANDOVER if with_handover else _SOCKETS
    return {name: listen_for(site, name, role, mode) for name, (role, mode) in wanted.items()}


def listen_for_workers(site: Site, name: str, first: socket.socket, count: int) -> dict[str, socket.socket]:
    """Sockets for `count` processes of one service, by path: `first`, then new ones.

    The new names are NAME2, NAME3, and so on.
    """
    named = {f"{name}{index}": listen_for(site, f"{name}{index}", *_SOCKETS[name]) for index in range(2, count + 1)}
    return {site.socket(name): first} | {site.socket(other): sock for other, sock in named.items()}


def smtp_listeners(asked: list[str], configured: list[bytes]) -> list[SmtpListener]:
    """The sockets of the SMTP service: those the service manager passed, and those in `asked`.

    Without either, the addresses in `configured`.  An invalid line of `configured` costs only its own listener.
    Fails: StartError.
    """
    try:
        given = given_listeners(os.environb)
    except OSError as error:
        raise StartError(str(error.strerror)) from error
    addresses = asked if asked or given else list(_usable([os.fsdecode(line) for line in configured]))
    return given + [listen_on(address) for address in addresses]


def _usable(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if parse_listen_address(line) is None:
            log_line(
                "qmail-start",
                f"alert: {Controls.smtplisten.file}: '{visible(os.fsencode(line))}' {WANTED}; nobody listens there",
            )
        else:
            yield line
