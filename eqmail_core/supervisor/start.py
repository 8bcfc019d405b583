"""What the parent of the services makes before there are any: the lock of the installation and their sockets.

Every listening socket is made here, before the first service runs, with the owner and mode that say who may connect;
a service inherits its own and nothing else.  So a service may connect to any other at once, in any order; when one
dies, its callers wait in the backlog of a socket that never goes away.  The parent holds no connection, parses nothing.

Fails: CannotStart, one sentence for people, before anything was forked.
Source: programs.md 1.4; architecture "privilege boundaries".
"""

import fcntl
import grp
import os
import pwd
import socket
from collections.abc import Iterator

from eqmail_core.control.controls import Controls
from eqmail_core.ipc.packet_socket import TlsListener, listen_at
from eqmail_core.site.site import Site
from eqmail_core.supervisor.service_manager import given_listeners
from eqmail_core.system.log import log_line
from eqmail_core.text.invisible_characters import visible
from eqmail_core.text.listen_address import WANTED, parse_listen_address

SMTP_BACKLOG = 1024
# Who owns the socket of a service, and so may connect beside root; or everybody may.
_SOCKETS = {
    "queue": ("qmailq", 0o666),
    "local": ("qmails", 0o600),
    "lookup": ("qmaild", 0o600),
    "remote": ("qmails", 0o600),
    "send": ("qmails", 0o600),
}
_HANDOVER = {"smtp": ("qmaild", 0o600)}
# Sockets of services that nobody has to send a descriptor to.
_WITHOUT_DESCRIPTORS = ("queue", "lookup", "send")


class StartError(Exception):
    """Why nothing was started, and what to do about it."""


def lock_installation(site: Site) -> int:
    """Hold the lock that only one parent per installation can have; it ends with this process, whoever survives it."""
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
    """The Unix socket of a service; `role` is the account that owns it, and so may connect where `mode` is 0600."""
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


def listen_on(address: str) -> socket.socket:
    """A TCP socket on ADDRESS:PORT or [IPv6]:PORT, shared by all workers that inherit it; tls: before it means TLS."""
    at = parse_listen_address(address)
    if at is None:
        raise StartError(f"{address!r} {WANTED}")
    family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
    sock = (TlsListener if at.is_tls else socket.socket)(family, socket.SOCK_STREAM)
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


def listen_for_services(site: Site, takes_over: bool = False) -> dict[str, socket.socket]:
    """The Unix sockets of all services, by name; `takes_over`: that at which clients are handed over, too."""
    wanted = _SOCKETS | _HANDOVER if takes_over else _SOCKETS
    return {name: listen_for(site, name, role, mode) for name, (role, mode) in wanted.items()}


def listen_for_workers(site: Site, name: str, first: socket.socket, count: int) -> dict[str, socket.socket]:
    """A socket for each of so many processes of one service, by path: `first`, which is there, then NAME2, NAME3 ..."""
    named = {f"{name}{index}": listen_for(site, f"{name}{index}", *_SOCKETS[name]) for index in range(2, count + 1)}
    return {site.socket(name): first} | {site.socket(other): sock for other, sock in named.items()}


def smtp_listeners(asked: list[str], settled: list[bytes]) -> list[socket.socket]:
    """The sockets of the SMTP service: those that the service manager gives and those asked for, else the settled ones.

    A settled line that is no address costs its own listener and nobody else's.
    Fails: CannotStart.
    """
    try:
        given = given_listeners(os.environb)
    except OSError as error:
        raise StartError(str(error.strerror)) from error
    addresses = asked if asked or given else list(_usable([os.fsdecode(line) for line in settled]))
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
