"""Deliveries in processes of their own: when they have ended, and what their children may not do."""

import os
import select
import time
from pathlib import Path

import pytest

from eqmail_core.local.service import subprocesses as apart_module
from eqmail_core.local.service.protocol import AgentOrder
from eqmail_core.local.service.subprocesses import OUTPUT_S, DeliverySubprocesses
from eqmail_core.outcome import DeliveryResult
from eqmail_core.site.site import Site
from eqmail_core.users.user import User


class Agent:
    """What an agent has of its deliveries, with a clock of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.now = 1000.0
        self.reports: list[tuple[int, DeliveryResult]] = []
        self.poll = select.poll()
        environ = {b"PATH": b"/usr/bin:/bin", b"EQMAIL_HOME": os.fsencode(home)}
        report = lambda *words: self.reports.append(words)  # noqa: E731
        site = Site(home=str(home))
        self.apart = DeliverySubprocesses(site, b"", environ, self.poll, report, clock=lambda: self.now)

    def order(self, number: int, line: str) -> None:
        (self.home / ".qmail").write_text(line + "\n")
        user = User(b"joe", os.getuid(), os.getgid(), os.fsencode(self.home), b"", b"")
        fd = os.memfd_create("message")
        os.write(fd, b"Subject: x\n\n")
        self.apart.accept([AgentOrder(number, b"", b"joe", b"h", b"s@x", user, fd)])

    def collect(self) -> None:
        for fd, _ in self.poll.poll(50):
            self.apart.collect(fd)

    def until(self, name: str) -> None:
        deadline = time.monotonic() + 20
        while not (self.home / name).exists():
            assert time.monotonic() < deadline
            self.collect()


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    tmp_path.chmod(0o755)
    (tmp_path / "control").mkdir()
    return Agent(tmp_path)


def left_behind(agent: Agent) -> None:
    """Have a delivery whose process has ended, and whose output another one holds."""
    (agent.home / "wait").touch()
    agent.order(1, "|echo said; (while test -e wait; do sleep 0.05; done; echo late) & touch done")
    agent.until("done")
    (it,) = agent.apart._running.values()
    os.waitid(os.P_PID, it.pid, os.WEXITED | os.WNOWAIT)
    agent.collect()


@pytest.mark.parametrize("limit", ["", "7"])
def test_an_output_that_is_held_by_others_is_read_for_a_while_only(agent: Agent, limit: str) -> None:
    if limit:
        (agent.home / "control/programseconds").write_text(limit + "\n")
    left_behind(agent)
    agent.now += 2
    agent.apart.look()
    agent.now += int(limit or OUTPUT_S) - 0.5
    agent.apart.look()
    assert not agent.reports
    agent.now += 1
    agent.apart.look()
    assert agent.reports == [(1, DeliveryResult(b"K", b"said\ndid 0+0+1\n"))]
    assert agent.apart.look_in_s is None
    (agent.home / "wait").unlink()


def test_an_output_that_ends_in_time_is_reported_whole(agent: Agent) -> None:
    left_behind(agent)
    agent.now += 2
    agent.apart.look()
    (agent.home / "wait").unlink()
    while not agent.reports:
        agent.collect()
    assert agent.reports == [(1, DeliveryResult(b"K", b"said\ndid 0+0+1\nlate\n"))]


def test_without_a_process_for_it_an_order_waits_and_its_message_is_closed(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(apart_module.os, "fork", no_fork)
    before = sorted(os.listdir("/proc/self/fd"))
    agent.order(1, "|true")
    assert agent.reports == [(1, DeliveryResult(b"Z", b"qmail-spawn unable to fork. (#4.3.0)\n"))]
    assert sorted(os.listdir("/proc/self/fd")) == before
