"""Whose an address is, when the process that is asked dies, is silent or cannot be."""

import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eqmail_core.local.service import getpw_process as getpw
from eqmail_core.local.service import user_lookup as module
from eqmail_core.local.service.user_lookup import UserLookup, UserLookupAnswer
from eqmail_core.site.site import Site
from eqmail_core.text.framing import join
from eqmail_core.users.user import LOOKUP_SYSTEM, LookupFailed, User

JOE = User(b"joe", 501, 501, b"/home/joe", b"", b"")


class LookupClients:
    """Clients of the lookup, and the answers they got."""

    def __init__(self, home: Path) -> None:
        self.selector = selectors.DefaultSelector()
        self.owners = UserLookup(Site(home=str(home)), self.selector)
        self.output: dict[bytes, UserLookupAnswer] = {}

    def ask(self, *locals_: bytes) -> None:
        for local in locals_:
            self.owners.find(local, lambda found, local=local: self.output.__setitem__(local, found))  # type: ignore[misc]

    def until(self, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not is_done():
            assert time.monotonic() < deadline
            for key, mask in self.selector.select(0.05):
                key.data(mask)
            self.owners.expire()


def children() -> set[int]:
    """Those of this process, which may have some of other tests."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in lists for pid in path.read_text().split()}


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[LookupClients]:
    others = children()
    it = LookupClients(tmp_path)
    yield it
    for key in list(it.selector.get_map().values()):
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()
    it.selector.close()
    for pid in children() - others:
        os.waitpid(pid, 0)


def answering(site: Site, sock: socket.socket) -> int:
    """A lookup process that hangs at one name, exits at another, and answers joe for the rest."""
    while local := sock.recv(1000):
        if local == b"hung":
            time.sleep(600)
        if local == b"deadly":
            os._exit(1)
        sock.send(b"U" + join(*JOE.fields()))
    return 0


@pytest.mark.parametrize("culprit", [b"hung", b"deadly"])
def test_a_name_that_kills_the_lookup_process_delays_no_other(
    clients: LookupClients, monkeypatch: pytest.MonkeyPatch, culprit: bytes
) -> None:
    monkeypatch.setattr(getpw, "run", answering)
    monkeypatch.setattr(module, "SILENCE_S", 0.3)
    clients.ask(b"before", culprit, b"behind", b"last")
    clients.until(lambda: len(clients.output) == 4)
    assert clients.output == {b"before": JOE, culprit: LOOKUP_SYSTEM, b"behind": JOE, b"last": JOE}


def test_without_a_lookup_process_every_lookup_is_temporary(
    clients: LookupClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_fork(*_args: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(module, "fork_with_socket", no_fork)
    clients.ask(b"joe")
    assert clients.output == {b"joe": LOOKUP_SYSTEM}
    monkeypatch.undo()
    monkeypatch.setattr(getpw, "run", answering)
    clients.ask(b"joe")
    clients.until(lambda: clients.output[b"joe"] == JOE)


@pytest.mark.parametrize("packet", [b"E0", b"E100", b"E99999", b"X118", b"", b"E", b"Ux\0", b"E" + b"9" * 5000])
def test_a_malformed_answer_is_never_a_report(packet: bytes) -> None:
    with pytest.raises((ValueError, LookupFailed)):
        getpw.split_answer(packet)
