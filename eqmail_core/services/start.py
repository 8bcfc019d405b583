"""The parent of the services: makes their sockets, forks them, starts again what dies, ends them in order.

Every listening socket is made here, before the first service runs, with the owner and mode that say who may connect;
a service inherits its own and nothing else.  So a service may connect to any other at once, in any order; when one
dies, its callers wait in the backlog of a socket that never goes away.  The parent holds no connection, parses nothing.

Fails: CannotStart, one sentence for people, before anything was forked.
Source: programs.md 1.4; architecture "privilege boundaries".
"""

import fcntl
import gc
import grp
import os
import pwd
import signal
import socket
import time
from collections.abc import Callable

from eqmail_core.system import kernel
from eqmail_core.system.log import say
from eqmail_core.system.notify import Herald, given_listeners
from eqmail_core.system.privileges import CannotSettle, settle
from eqmail_core.system.sockets import TlsListener, listen_at
from eqmail_core.values.site import Site

NAME = "qmail-start"
SHORT_LIFE_S = 10.0
MAX_PAUSE_S = 60.0
SMTP_BACKLOG = 1024
IMPLICIT_TLS = "tls:"
"""Before an address to listen on: clients speak TLS from the first byte."""

# Who owns the socket of a service, and so may connect beside root; or everybody may.
_SOCKETS = {
    "queue": ("qmailq", 0o666),
    "local": ("qmails", 0o600),
    "lookup": ("qmaild", 0o600),
    "remote": ("qmails", 0o600),
    "send": ("qmails", 0o600),
}
_HANDOVER = {"smtp": ("qmaild", 0o600)}

_WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM}


class CannotStart(Exception):
    """Why nothing was started, and what to do about it."""


class Service:
    """One resident process: its name, what it runs, its place in the order of ending, and the signals it wants.

    `run` is called in the child with the child's process to itself and ends when the service is told TERM.  `load` is
    called in the parent just before the first start: services share what was loaded for them and those before them.
    `last` services are ended only when all others have gone (0 first, then 1, ...).
    """

    __slots__ = ("last", "listeners", "load", "name", "pause_s", "pid", "run", "signals", "since", "start_at")

    def __init__(
        self,
        name: str,
        run: Callable[[], None],
        listeners: list[socket.socket],
        last: int,
        signals: tuple[signal.Signals, ...] = (),
        load: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self.run = run
        self.listeners = listeners
        self.last = last
        self.signals = signals
        self.load = load
        self.pid = 0
        self.since = 0.0
        self.start_at = 0.0
        self.pause_s = 0.0


def lock_installation(site: Site) -> int:
    """Hold the lock that only one parent per installation can have; it ends with this process, whoever survives it."""
    try:
        fd = os.open(f"{site.run}/start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(f"{site.run}/start.lock: {error.strerror}; run: eqmail --home {site.home} setup") from error
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        os.close(fd)
        raise CannotStart(f"the services of {site.home} are running already") from error
    os.ftruncate(fd, 0)
    os.write(fd, b"%d\n" % os.getpid())
    return fd


def listen_for(site: Site, name: str, role: str | None, mode: int) -> socket.socket:
    """The Unix socket of a service; `role` is the account that owns it, and so may connect where `mode` is 0600."""
    uid = gid = -1
    try:
        if role and not site.single_user:
            uid = pwd.getpwnam(site.accounts.user(role)).pw_uid
            gid = grp.getgrnam(site.accounts.group(role)).gr_gid
        return listen_at(site.socket(name), mode, uid, gid)
    except KeyError as missing:
        raise CannotStart(f"{missing}; create the accounts with: eqmail mkusers") from missing
    except OSError as error:
        raise CannotStart(f"{site.socket(name)}: {error.strerror}") from error


def listen_on(address: str) -> socket.socket:
    """A TCP socket on ADDRESS:PORT or [IPv6]:PORT, shared by all workers that inherit it; tls: before it means TLS."""
    kind = TlsListener if address.startswith(IMPLICIT_TLS) else socket.socket
    host, colon, port = address.removeprefix(IMPLICIT_TLS).rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise CannotStart(f"{address!r} is not ADDRESS:PORT")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = kind(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, int(port)))
        sock.listen(SMTP_BACKLOG)
    except OSError as error:
        sock.close()
        raise CannotStart(f"cannot listen on {address}: {error.strerror}") from error
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

    Fails: CannotStart.
    """
    try:
        given = given_listeners(os.environb)
    except OSError as error:
        raise CannotStart(str(error.strerror)) from error
    addresses = asked if asked or given else [os.fsdecode(line) for line in settled]
    return given + [listen_on(address) for address in addresses]


def logging_staff(site: Site, argv: list[str]) -> tuple[list[Service], int]:
    """The logger as a service, if one was asked for, and the descriptor of the log.

    Without a logger the log is our own standard output, as in C.  With one, whatever the services say on standard
    error goes to it too.  The logger reads a pipe that outlives it, so that no line is lost when it is started again;
    it writes where the log would have gone without it, its complaints, too.
    """
    if not argv:
        return [], 1
    reading, writing = os.pipe()
    original = os.dup(1)
    os.dup2(writing, 1)
    os.dup2(writing, 2)

    def run() -> None:
        settle(site, "qmaill")
        for fd, source in enumerate((reading, original, original)):
            os.dup2(source, fd)
        os.execvp(argv[0], argv)

    return [Service("logger", run, [], last=9)], 1


def supervise(services: list[Service], herald: Herald) -> None:
    """Run the services until TERM or INT; HUP and ALRM are passed on to those that want them.

    `herald` tells the service manager that all were started, that the parent lives, and that the end has begun.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    for service in services:
        service.load()
        gc.collect()
        gc.freeze()
        _fork(service, services)
    herald.ready()
    while True:
        waits = [service.start_at - time.monotonic() for service in services if not service.pid]
        event = signal.sigtimedwait(_WATCHED, max(0.0, min([herald.pause_s, *waits])))
        herald.alive()
        number = event.si_signo if event else 0
        if number in (signal.SIGTERM, signal.SIGINT):
            break
        if number == signal.SIGCHLD:
            _bury(services)
        elif number:
            _pass_on(services, signal.Signals(number))
        for service in services:
            if not service.pid and service.start_at <= time.monotonic():
                _fork(service, services)
    herald.stopping()
    _end(services)


def _fork(service: Service, services: list[Service]) -> None:
    service.since = time.monotonic()
    service.pid = os.fork()
    if service.pid:
        return
    code = 111
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        for other in services:
            if other is not service:
                for sock in other.listeners:
                    if sock not in service.listeners:
                        sock.close()
        kernel.name_process(f"eq-{service.name}")
        kernel.end_with_parent()
        service.run()
        code = 0
    except CannotSettle as reason:
        say(NAME, f"fatal: {service.name}: {reason}")
    except BaseException as surprise:
        say(NAME, f"fatal: {service.name}: {type(surprise).__name__}: {surprise}{_where(surprise)}")
    finally:
        os._exit(code)


def _where(surprise: BaseException) -> str:
    """The innermost place of a surprise in our own files, for the report of a bug."""
    trace = surprise.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})" if trace else ""


def _bury(services: list[Service]) -> None:
    """Take note of the dead and decide when they start again: at once, or later and later if they die young."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        for service in services:
            if service.pid == pid:
                now = time.monotonic()
                young = now - service.since < SHORT_LIFE_S
                service.pause_s = min(MAX_PAUSE_S, service.pause_s * 2 or 0.25) if young else 0.0
                service.pid, service.start_at = 0, now + service.pause_s
                say(NAME, f"alert: {service.name} {_how(status)}, starting it again in {service.pause_s:g} s")


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"died of signal {-code}" if code < 0 else f"ended with exit code {code}"


def _pass_on(services: list[Service], number: signal.Signals) -> None:
    for service in services:
        if service.pid and number in service.signals:
            os.kill(service.pid, number)


def _end(services: list[Service]) -> None:
    """End the services rank by rank; running deliveries are awaited, as long as they take.

    A service that is dead is not started any more: its sockets are closed, or its callers would wait in their backlog
    for ever, and be waited for.
    """
    for service in services:
        if not service.pid:
            _close(service)
    for rank in sorted({service.last for service in services}):
        ranked = [service for service in services if service.last == rank and service.pid]
        for service in ranked:
            os.kill(service.pid, signal.SIGTERM)
        while any(service.pid for service in ranked):
            try:
                pid, _ = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            for service in services:
                if service.pid == pid:
                    service.pid = 0
                    _close(service)


def _close(service: Service) -> None:
    for sock in service.listeners:
        sock.close()
