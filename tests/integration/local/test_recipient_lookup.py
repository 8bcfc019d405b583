"""The recipient lookup answers what a delivery would report, and never delays deliveries."""

import os
import signal
from collections.abc import Callable

import pytest

from eqmail_core.ipc import recipient_lookup_protocol as wire
from eqmail_core.ipc.packet_socket import connect_to
from eqmail_core.local.service import recipient_lookup as lookups
from eqmail_core.smtpd.server.blocking_recipient_lookup import look_up
from tests.integration.local.test_spawner import Scheduler, Service, new, scheduler, service

__all__ = ["scheduler", "service"]


def write(name: str, text: str, mode: int = 0o644) -> Callable[[Service], object]:
    def act(service: Service) -> None:
        path = service.alias / name
        path.write_text(text)
        path.chmod(mode)

    return act


STATES: dict[str, Callable[[Service], object]] = {
    "as it is": lambda service: None,
    "no default": lambda service: (service.alias / ".qmail-default").unlink(),
    "nothing but comments": write(".qmail-box", "#\n"),
    "blank first line": write(".qmail-box", "\n./Maildir/\n"),
    "forward-only with a file": write(".qmail-box", "./Maildir/\n", 0o744),
    "writable": write(".qmail-box", "./Maildir/\n", 0o666),
    "a folder in the way": lambda service: (service.alias / ".qmail-box").mkdir(),
    "a loop of links": lambda service: (service.alias / ".qmail-box").symlink_to(".qmail-box"),
    "home writable": lambda service: service.alias.chmod(0o777),
    "home sticky": lambda service: service.alias.chmod(0o1755),
    "home away": lambda service: service.alias.rename(service.alias.with_name("elsewhere")),
    "damaged database": lambda service: (service.alias.parent / "users/cdb").write_bytes(b"x"),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("recipient", [b"box@h", b"BOX@h", b"box-x@h", b"@h", b"a.b/c@h", b"x" * 800 + b"@h"])
def test_a_lookup_is_answered_as_a_delivery_would_end(
    service: Service, scheduler: Scheduler, state: str, recipient: bytes
) -> None:
    STATES[state](service)
    asked = look_up(service.site.socket("lookup"), recipient)
    assert asked == scheduler.ask(recipient)[0] != b""


def test_lookups_are_answered_during_many_deliveries(service: Service, scheduler: Scheduler) -> None:
    with connect_to(service.site.socket("lookup"), 20.0) as sock:
        count = 3 * lookups.MAX_CONCURRENT
        for serial in range(1, count + 1):
            scheduler.order(serial, b"box@h", name=b"7.X%d" % serial)
            sock.send(wire.question(serial, b"box-%d@h" % serial))
        answers = dict(wire.split_answer(sock.recv(100)) for _ in range(count))
        assert answers == dict.fromkeys(range(1, count + 1), b"K")
    scheduler.settle(count)
    assert len(new(service)) == count


def test_excess_lookups_wait_for_their_turn(service: Service) -> None:
    service.alias.joinpath(".qmail-default").unlink()
    socks = [connect_to(service.site.socket("lookup"), 20.0) for _ in range(3)]
    for sock in socks:
        for tag in range(200):
            sock.send(wire.question(tag, b"%d-%d@h" % (tag, id(sock))))
    for sock in socks:
        assert sorted(wire.split_answer(sock.recv(100))[0] for _ in range(200)) == list(range(200))
        sock.close()


def test_an_agent_that_dies_leaves_no_lookup_open(service: Service) -> None:
    assert look_up(service.site.socket("lookup"), b"box@h") == b"K"
    (agent,) = service.children()
    os.kill(agent, signal.SIGSTOP)
    with connect_to(service.site.socket("lookup"), 20.0) as sock:
        sock.send(wire.question(1, b"other@h"))
        os.kill(agent, signal.SIGKILL)
        tag, letter = wire.split_answer(sock.recv(100))
    assert tag == 1 and letter in (b"Z", b"K")
