"""The spawner's workers: the carrier, an agent for each user who needs one, sync helpers.

This part runs as root.  One carrier process serves all users; it is killed when a report is overdue for too long.
Users whose mail it held at its end have agents for a while, so that a user with a hung home delays the others once.

Fails: OSError when no child can be started.
Source: ADR 7; ADR 15.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial

from eqmail_core.local.service import worker_process as agent
from eqmail_core.local.service.protocol import NAME
from eqmail_core.local.service.time_budget import SLOW_S
from eqmail_core.local.service.worker import NO_BOUND, WorkerHandle
from eqmail_core.site.site import Site
from eqmail_core.system.child import end_child, fork_with_socket, has_ended
from eqmail_core.system.repeated_lines import say_seldom
from eqmail_core.users.user import User

RESIDENT = 32
IDLE_S = 30.0
RETIRED_AFTER = 10_000

SILENCE_S = 15.0
"""How long a report of the carrier may be overdue, in seconds.

A slow disk takes seconds; a hung home never ends.
"""

AGENT_SILENCE_S = 60.0
"""How long an agent with an outstanding report may be silent, in seconds.

It delays only its user.
"""

HUNG = 4
"""No new carrier is started while this many killed carriers have not ended."""

_Account = tuple[int, int]


class WorkerPool:
    """All workers; calls `watch(worker)` for a new one, `unwatch(worker)` before closing one.

    An agent has at most `at_once` orders at a time.
    """

    def __init__(
        self,
        site: Site,
        default: bytes,
        environ: Mapping[bytes, bytes],
        watch: Callable[[WorkerHandle], None],
        unwatch: Callable[[WorkerHandle], None],
        with_carrier: bool = False,
        at_once: int = NO_BOUND,
    ) -> None:
        self._site = site
        self._default = default
        self._environ = environ
        self._watch = watch
        self._unwatch = unwatch
        self._with_carrier = with_carrier
        self._at_once = at_once
        self._carrier: WorkerHandle | None = None
        self._agents: dict[_Account, WorkerHandle] = {}
        self._retired: set[WorkerHandle] = set()
        self._closing: list[int] = []
        self._hung: list[int] = []
        self._slow: dict[_Account, float] = {}

    def worker_for(self, user: User) -> WorkerHandle:
        """Return the worker for a user: a running agent, else the carrier, else a new agent.

        Users who are slow have agents, and so have all users while too many killed carriers have not ended.
        """
        account = (user.uid, user.gid)
        if not self._with_carrier or account in self._agents or account in self._slow or len(self._hung) >= HUNG:
            return self.agent_for(user)
        if self._carrier is not None and self._carrier.requests >= RETIRED_AFTER:
            self._retired.add(self._carrier)
            self._carrier = None
        if self._carrier is None:
            act = partial(agent.run_carrier, self._site, self._default)
            self._carrier = WorkerHandle(*fork_with_socket("qmail-carrier", act), is_shared=True)
            self._watch(self._carrier)
        return self._carrier

    def agent_for(self, user: User) -> WorkerHandle:
        """Return the agent of a user, started if there is none.

        The least recently used agent comes first in the table.
        """
        account = (user.uid, user.gid)
        found = self._agents.pop(account, None)
        if found is not None and found.requests >= RETIRED_AFTER:
            self._retired.add(found)
            found = None
        if found is None:
            self._make_room()
            act = partial(agent.run, self._site, user, self._default, self._environ)
            found = WorkerHandle(*fork_with_socket("qmail-local", act), at_once=self._at_once)
            self._watch(found)
        self._agents[account] = found
        return found

    def keep_from_carrier(self, user: User) -> None:
        """Assign a user's mail to an agent for a while."""
        self._slow[user.uid, user.gid] = time.monotonic() + SLOW_S

    def expire(self) -> None:
        """Close agents that are idle for long or retired, and reap ended processes."""
        now = time.monotonic()
        for account, worker in list(self._agents.items()):
            if worker.is_idle and worker.used_at <= now - IDLE_S:
                del self._agents[account]
                self._close(worker)
        for worker in [worker for worker in self._retired if worker.is_idle]:
            self._retired.discard(worker)
            self._close(worker)
        self._closing = [pid for pid in self._closing if not has_ended(pid)]
        self._hung = [pid for pid in self._hung if not has_ended(pid)]
        self._slow = {account: until for account, until in self._slow.items() if until > now}

    def probe(self) -> None:
        """Probe the agents with outstanding reports; run times of their programs are not limited."""
        for worker in self.agents():
            worker.probe()

    def silent(self) -> list[WorkerHandle]:
        """List the workers whose report, or answer to a probe, is overdue for too long."""
        now = time.monotonic()
        carriers = [worker for worker in (self._carrier, *self._retired) if worker is not None and worker.is_shared]
        silent = [worker for worker in carriers if worker.silent_s(now) > SILENCE_S]
        return silent + [worker for worker in self.agents() if worker.silent_s(now) > AGENT_SILENCE_S]

    def agents(self) -> list[WorkerHandle]:
        """List every agent."""
        return [*self._agents.values(), *(worker for worker in self._retired if not worker.is_shared)]

    def reap(self, dead: WorkerHandle) -> int:
        """Remove a worker that has died or must; return its exit code, negative for a signal."""
        self._remove(dead)
        return end_child(dead.pid)

    def kill(self, hung: WorkerHandle) -> None:
        """Kill a worker without waiting for its end."""
        self._remove(hung)
        if hung.is_shared:
            say_seldom(
                NAME, f"warning: the carrier was silent for {SILENCE_S:g} s and is replaced; its mail goes to agents"
            )
        else:
            uid = hung.users()[0].uid
            say_seldom(NAME, f"warning: the agent of uid {uid} was silent for {AGENT_SILENCE_S:g} s and is killed")
        try:
            os.kill(hung.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        (self._hung if hung.is_shared else self._closing).append(hung.pid)

    def _remove(self, worker: WorkerHandle) -> None:
        if worker.is_shared:
            until = time.monotonic() + SLOW_S
            self._slow |= {(user.uid, user.gid): until for user in worker.users()}
        self._retired.discard(worker)
        self._agents = {account: other for account, other in self._agents.items() if other is not worker}
        if self._carrier is worker:
            self._carrier = None
        self._unwatch(worker)
        worker.close()

    def _make_room(self) -> None:
        """Close the least recently used idle agent if the table is full; busy agents always stay."""
        if len(self._agents) >= RESIDENT:
            for account, worker in self._agents.items():
                if worker.is_idle:
                    del self._agents[account]
                    self._close(worker)
                    return

    def _close(self, worker: WorkerHandle) -> None:
        self._unwatch(worker)
        worker.close()
        self._closing.append(worker.pid)


def sync_in_child() -> tuple[int, socket.socket]:
    """Start a process that syncs all disks; its socket reaches end of file when that is done."""
    return fork_with_socket("qmail-sync", _sync)


def _sync(_sock: socket.socket) -> int:
    os.sync()
    return 0
