"""The spawner's table of agents: who stays, who goes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.protocols.agent_wire import AgentOrder
from eqmail_core.services.local import crew as crew_module
from eqmail_core.services.local.crew import Agent, Crew
from eqmail_core.values.site import Site
from eqmail_core.values.user import User


@pytest.fixture
def gone() -> list[Agent]:
    return []


@pytest.fixture
def crew(tmp_path: Path, gone: list[Agent], monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    monkeypatch.setattr(crew_module, "RESIDENT", 2)
    monkeypatch.setattr(crew_module, "RETIRED_AFTER", 3)
    hired: list[Agent] = []
    yield Crew(Site(home=str(tmp_path), single_user=True), b"./Maildir/", {}, hired.append, gone.append)
    for agent in hired:
        if agent not in gone:
            agent.backlog.clear()
            agent.let_go()
        try:
            os.waitpid(agent.pid, 0)
        except ChildProcessError:
            pass


def user(name: bytes) -> User:
    return User(name, os.getuid(), os.getgid(), b"/", b"", b"")


def order(number: int) -> AgentOrder:
    return AgentOrder(number, b"", b"x", b"", b"h", b"", -1)


def test_the_least_recently_used_idle_agent_makes_room(crew: Crew, gone: list[Agent]) -> None:
    a, b = crew.agent_for(user(b"a")), crew.agent_for(user(b"b"))
    assert crew.agent_for(user(b"a")) is a
    crew.agent_for(user(b"c"))
    assert gone == [b]


def test_a_busy_agent_stays_even_in_a_full_house(crew: Crew, gone: list[Agent]) -> None:
    for number, name in enumerate((b"a", b"b", b"c")):
        crew.agent_for(user(name)).take(order(number))
    assert not gone


def test_an_agent_retires_after_many_orders_and_leaves_when_idle(crew: Crew, gone: list[Agent]) -> None:
    old = crew.agent_for(user(b"a"))
    for number in range(3):
        old.take(order(number))
    assert crew.agent_for(user(b"a")) is not old
    crew.dismiss_idle()
    assert not gone
    old.unreported.clear()
    old.backlog.clear()
    crew.dismiss_idle()
    assert gone == [old]


def test_an_idle_agent_goes_home(crew: Crew, gone: list[Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    agent = crew.agent_for(user(b"a"))
    crew.dismiss_idle()
    assert not gone
    monkeypatch.setattr(crew_module, "IDLE_S", 0.0)
    crew.dismiss_idle()
    assert gone == [agent]


def test_an_agent_that_speaks_of_foreign_orders_is_found_out(crew: Crew) -> None:
    agent = crew.agent_for(user(b"a"))
    it = order(1)
    it.fd = os.open("/dev/null", os.O_RDONLY)
    agent.take(it)
    agent.sock.setblocking(True)
    assert agent.push()
    agent.unreported = {2}
    with pytest.raises(ValueError, match="speaks of order 1"):
        agent.reports()
    agent.unreported.clear()
