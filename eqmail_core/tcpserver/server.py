"""qmail-tcpsrv: accepts TCP connections and runs a program for each permitted client.

The parent never blocks on a client: everything slow, above all lookups, happens in the child that becomes the program.
Fails: never for one connection; TcpServerError if the server cannot start.
Source: smtp-server.md 4.9; tcpserver(1).
"""

import gc
import os
import select
import signal
import socket
import time

from eqmail_core.outcome import EXIT_PERMANENT, EXIT_TEMPORARY
from eqmail_core.system.files import write_all
from eqmail_core.system.log import log_line
from eqmail_core.tcpserver.connection import VARIABLES, CannotListen, accept_client, listen, prepare
from eqmail_core.tcpserver.environment import plain_address
from eqmail_core.tcpserver.log_lines import verdict_line
from eqmail_core.tcpserver.options import TcpsrvOptions
from eqmail_core.tcpserver.rules_database import find_rule
from eqmail_core.text.error_text import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

NAME = "qmail-tcpsrv"

_DROPPING = b"warning: dropping connection, "
_BREATH_S = 0.1


class TcpServerError(Exception):
    """The server cannot start; the text is the reason."""


class TcpServer:
    """One listening socket and at most `limit` running programs."""

    def __init__(self, options: TcpsrvOptions, environ: dict[bytes, bytes]) -> None:
        self._options = options
        self._environ = {name: value for name, value in environ.items() if name not in VARIABLES}
        self._children = 0
        try:
            self._listener = listen(options)
        except CannotListen as reason:
            raise TcpServerError(str(reason)) from reason

    def assume_role(self) -> None:
        """Change to the chosen user, print the port if requested, and detach descriptors 0 and 1.

        Fails: TcpServerError.
        """
        options = self._options
        try:
            if options.gid:
                os.setgroups([options.gid])
                os.setgid(options.gid)
            if options.uid:
                os.setuid(options.uid)
            if options.tells_port:
                write_all(1, b"%d\n" % self._listener.getsockname()[1])
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            for fd in (0, 1):
                os.dup2(nothing, fd)
        except OSError as error:
            raise TcpServerError(f"unable to settle: {error.strerror}") from error

    def run(self) -> "NoReturn":
        """Serve until TERM, which ends the process at once; running programs continue."""
        waking, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
        gc.freeze()
        self._log_status()
        poller = select.poll()
        poller.register(waking, select.POLLIN)
        poller.register(self._listener, select.POLLIN)
        while True:
            poller.modify(self._listener, select.POLLIN if self._children < self._options.limit else 0)
            for fd, _ in poller.poll():
                if fd == waking:
                    os.read(waking, 4096)
                    self._reap()
                else:
                    self._accept()

    def _accept(self) -> None:
        try:
            connection, name = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            self._log(1, b"warning: unable to accept: " + error_text(error.errno))
            time.sleep(_BREATH_S)
            return
        with connection:
            try:
                pid = os.fork()
            except OSError as error:
                self._log(1, _DROPPING + b"unable to fork: " + error_text(error.errno))
                return
            if pid == 0:
                self._become_program(connection, plain_address(name)[0])
        self._children += 1
        self._log_status()

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._children -= 1
            self._log(2, b"end %d status %d" % (pid, status))
            self._log_status()

    # --- the child

    def _become_program(self, connection: socket.socket, ip: str) -> "NoReturn":
        """Look up the client, apply the rules and become the program; never returns."""
        code = EXIT_TEMPORARY
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            self._listener.close()
            self._log(2, b"pid %d from %b" % (os.getpid(), ip.encode()))
            code = self._serve(connection)
        except OSError as error:
            self._log(1, _DROPPING + error_text(error.errno))
        finally:
            os._exit(code)

    def _serve(self, connection: socket.socket) -> int:
        options = self._options
        connection.setblocking(True)
        prepare(connection, options)
        if options.banner:
            connection.sendall(options.banner)
        environ = self._environ | accept_client(connection, options)
        try:
            is_denied = self._decide(environ)
        except OSError as error:
            self._log(1, _DROPPING + b"unable to read %b: %b" % (options.rules, error_text(error.errno)))
            return EXIT_TEMPORARY
        self._log(2, verdict_line(is_denied, os.getpid(), environ))
        if is_denied:
            return EXIT_PERMANENT
        os.dup2(connection.fileno(), 0)
        os.dup2(connection.fileno(), 1)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        try:
            os.execvpe(options.program[0], options.program, environ)
        except (OSError, ValueError) as error:
            number = error.errno if isinstance(error, OSError) else None
            self._log(1, b"fatal: unable to run %b: %b" % (options.program[0], error_text(number)))
        return EXIT_TEMPORARY

    def _decide(self, environ: dict[bytes, bytes]) -> bool:
        """Return whether the rules refuse a client; add the variables of its rule to `environ`.

        Fails: OSError if the rules cannot be read.
        """
        options = self._options
        if not options.rules:
            return False
        ip, host, info = (environ.get(name) for name in (b"TCPREMOTEIP", b"TCPREMOTEHOST", b"TCPREMOTEINFO"))
        try:
            rule = find_rule(os.fsdecode(options.rules), ip or b"", host, info)
        except FileNotFoundError:
            if options.rules_may_miss:
                return False
            raise
        if rule is None:
            return False
        environ.update(rule.variables)
        return rule.denies

    # --- log

    def _log(self, level: int, text: bytes) -> None:
        if self._options.verbosity >= level:
            log_line(NAME, text)

    def _log_status(self) -> None:
        self._log(2, b"status: %d/%d" % (self._children, self._options.limit))
