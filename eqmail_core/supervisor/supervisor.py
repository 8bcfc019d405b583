"""The supervisor: starts the services, restarts those that end, and ends all in order.

The service manager gets READY when every service has reported ready.  If one ends before, the start has failed: all are
ended again, and the reason is the one of that service.  Later a service that ends is restarted, at once or with growing
pauses.  run/status records which services are down, since when and why.

Fails: StartFailed, with the reason of every service that could not start.
"""

import gc
import os
import signal
import time
from collections.abc import Callable

from eqmail_core.service.readiness import REPEATED_TERM_S
from eqmail_core.service.status import ServiceStatus
from eqmail_core.site.site import Site
from eqmail_core.supervisor.service_manager import ServiceManager
from eqmail_core.supervisor.service_process import NAME, SupervisedService
from eqmail_core.system.log import log_line
from eqmail_core.system.privileges import assume_role
from eqmail_core.system.repeated_lines import say_seldom

SHORT_LIFE_S = 10.0
MAX_PAUSE_S = 60.0

_LOOK_S = 10.0
_COMPLETION = {signal.SIGTERM, signal.SIGINT}
_WATCHED = {signal.SIGCHLD, signal.SIGIO, signal.SIGHUP, signal.SIGALRM} | _COMPLETION


class StartFailed(Exception):
    """Why the services were ended before all of them served."""


def logging_services(site: Site, argv: list[str]) -> tuple[list[SupervisedService], int]:
    """The logger as a service, if requested, and the descriptor of the log.

    Without a logger the log is the standard output of this process, as in C.  With one, standard error of the services
    goes to it too.  The logger reads a pipe that outlives it, so that a restart loses no line.  It writes to the
    original standard output, and its own errors too.
    """
    if not argv:
        return [], 1
    reading, writing = os.pipe()
    original = os.dup(1)
    os.dup2(writing, 1)
    os.dup2(writing, 2)

    def run() -> None:
        assume_role(site, "qmaill")
        for fd, source in enumerate((reading, original, original)):
            os.dup2(source, fd)
        os.execvp(argv[0], argv)

    return [SupervisedService("logger", run, [], last=9, kept=(reading, original), becomes_program=True)], 1


class Supervisor:
    """Runs these services until TERM or INT; passes HUP and ALRM on to those that use them.

    `service_manager` reports the state to the service manager, `record` stores it for other programs, `on_reload` that
    the services were told to read their settings.  Services that still run `stop_s` seconds after TERM, or at a second
    TERM, are killed, rank by rank; 0 waits forever.
    `caller_stderr`, owned here, gets the report of a failed start.
    """

    def __init__(
        self,
        services: list[SupervisedService],
        service_manager: ServiceManager,
        record: Callable[[list[ServiceStatus]], None] = lambda services: None,
        stop_s: float = 0.0,
        caller_stderr: int = -1,
        on_reload: Callable[[], None] = lambda: None,
    ) -> None:
        self._services = services
        self._service_manager = service_manager
        self._record = record
        self._stop_s = stop_s
        self._caller_stderr = caller_stderr
        self._on_reload = on_reload
        self._all_served = False

    def run(self) -> None:
        """Start all services, keep them running, end them.

        Fails: StartFailed; then none is left.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        for service in self._services:
            service.load()
            gc.collect()
            gc.freeze()
            self._start(service)
        self._note()
        while not self._take_turn():
            pass
        self._service_manager.stopping()
        self._end()
        fallen = (
            []
            if self._all_served
            else [f"{service.name}: {service.reason}" for service in self._services if service.ends]
        )
        if fallen:
            self._speak_to_caller()
            raise StartFailed("; ".join(dict.fromkeys(fallen)))

    def _take_turn(self) -> bool:
        """Wait for an event and handle it; return whether the supervisor must end."""
        event = signal.sigtimedwait(_WATCHED, self._pause_s())
        if self._all_served:
            self._service_manager.alive()
        number = event.si_signo if event else 0
        if number in _COMPLETION:
            return True
        if number in (signal.SIGHUP, signal.SIGALRM):
            self._pass_on(signal.Signals(number))
            if number == signal.SIGHUP:
                self._on_reload()
        changed = sum(service.listen() for service in self._services) > 0
        changed |= self._reap()
        if not self._all_served:
            if any(service.ends for service in self._services):
                return True
            if all(service.is_ready for service in self._services):
                self._all_served = True
                self._forget_caller()
                self._service_manager.ready()
            else:
                self._service_manager.starting()
        for service in self._services:
            if not service.pid and service.start_at <= time.monotonic():
                self._start(service)
                changed = True
        if changed:
            self._note()
        return False

    def _speak_to_caller(self) -> None:
        """Restore the caller's standard error, because the log has ended."""
        if self._caller_stderr >= 0:
            os.dup2(self._caller_stderr, 2)
            self._forget_caller()

    def _forget_caller(self) -> None:
        """Close the caller's standard error, so that the caller sees its end."""
        if self._caller_stderr >= 0:
            os.close(self._caller_stderr)
            self._caller_stderr = -1

    def _pause_s(self) -> float:
        waits = [service.start_at - time.monotonic() for service in self._services if not service.pid]
        if not all(service.is_ready for service in self._services):
            waits.append(_LOOK_S)
        return max(0.0, min([self._service_manager.pause_s, *waits]))

    def _note(self) -> None:
        self._record([service.status() for service in self._services])

    def _pass_on(self, number: signal.Signals) -> None:
        for service in self._services:
            if service.pid and number in service.signals:
                os.kill(service.pid, number)

    # Start.

    def _start(self, service: SupervisedService) -> None:
        """Fork a service; a failure is handled as if it had ended at once."""
        others = {sock for other in self._services for sock in other.listeners} - set(service.listeners)
        try:
            service.fork(others, _WATCHED)
        except OSError as error:
            self._has_ended(service, f"cannot be started: {error.strerror}")

    # End.

    def _reap(self) -> bool:
        """Reap ended services; return whether there were any."""
        found = False
        while ended := _next_dead(os.WNOHANG):
            pid, status = ended
            for service in self._services:
                if service.pid == pid:
                    self._has_ended(service, _exit_text(status))
                    found = True
        return found

    def _has_ended(self, service: SupervisedService, invoked_by: str) -> None:
        """Decide when a service restarts: at once, or after growing pauses if it ends early."""
        now = time.monotonic()
        young = now - service.since < SHORT_LIFE_S
        service.pause_s = min(MAX_PAUSE_S, service.pause_s * 2 or 0.25) if young else 0.0
        service.start_at = now + service.pause_s
        service.note_end(invoked_by)
        then = f", starting it again in {service.pause_s:g} s" if self._all_served else ""
        say_seldom(NAME, f"alert: {service.name} {invoked_by}{then}")

    def _end(self) -> None:
        """End the services rank by rank; wait for running deliveries.

        A dead service is not restarted.  Its sockets are closed; otherwise its clients would wait in their backlog for
        ever, and this process for them.
        """
        begun = time.monotonic()
        for service in self._services:
            if not service.pid:
                service.close()
        for rank in sorted({service.last for service in self._services}):
            ranked = [service for service in self._services if service.last == rank and service.pid]
            for service in ranked:
                os.kill(service.pid, signal.SIGTERM)
            is_killed = False
            while any(service.pid for service in ranked):
                if not is_killed and self._must_kill_now(begun):
                    is_killed = True
                    _kill([service for service in ranked if service.pid])
                elif is_killed:
                    signal.sigtimedwait(_WATCHED, _LOOK_S)
                while ended := _next_dead(os.WNOHANG):
                    for service in self._services:
                        if service.pid == ended[0]:
                            service.pid = 0
                            service.close()

    def _must_kill_now(self, begun: float) -> bool:
        """Wait briefly or for a death; return whether time is over or a second TERM has come."""
        left = begun + self._stop_s - time.monotonic() if self._stop_s else _LOOK_S
        if left <= 0:
            return True
        event = signal.sigtimedwait(_WATCHED, min(left, _LOOK_S))
        return event is not None and event.si_signo in _COMPLETION and time.monotonic() - begun >= REPEATED_TERM_S


def _next_dead(flags: int) -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, flags)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def _kill(services: list[SupervisedService]) -> None:
    """Kill services: no accepted mail is lost, but deliveries in progress may be repeated."""
    log_line(NAME, f"alert: still running and killed: {', '.join(service.name for service in services)}")
    for service in services:
        os.kill(service.pid, signal.SIGKILL)


def _exit_text(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"died of signal {-code}" if code < 0 else f"ended with exit code {code}"
