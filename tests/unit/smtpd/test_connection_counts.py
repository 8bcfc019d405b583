"""Counts that processes keep together."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.smtpd.server.connection_counts import ProcessCounters, SharedCounters

IP, OTHER = b"192.0.2.1", b"2001:db8::1"


def in_child(act: Callable[[], bool]) -> None:
    """Run something in another process, which must say yes."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if act() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def begun(counts: SharedCounters, index: int = 0) -> ProcessCounters:
    share = counts.counters_of(index)
    share.begin()
    return share


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.booleans()), max_size=200))
def test_all_processes_share_the_counts(events: list[tuple[int, int, bool]]) -> None:
    counts = SharedCounters(3)
    shares = [begun(counts, index) for index in range(3)]
    kept: Counter[tuple[int, bytes]] = Counter()
    for index, number, enters in events:
        address = b"192.0.2.%d" % number
        if enters:
            shares[index].enter(address)
            kept[index, address] += 1
        elif kept[index, address]:
            shares[index].leave(address)
            kept[index, address] -= 1
    for share in shares:
        assert share.total == kept.total()
        for number in range(31):
            address = b"192.0.2.%d" % number
            assert share.sessions_of(address) == sum(kept[index, address] for index in range(3))


def test_the_counts_are_visible_to_another_process() -> None:
    counts = SharedCounters(2)
    mine = begun(counts)
    mine.enter(IP)
    mine.enter(IP)
    mine.note_failure(IP, 1000, 600)
    theirs = counts.counters_of(1)

    def look() -> bool:
        theirs.begin()
        theirs.enter(IP)
        return (theirs.total, theirs.sessions_of(IP), theirs.sessions_of(OTHER)) == (3, 3, 0) and theirs.failures_of(
            IP, 1000, 600
        ) == 1

    in_child(look)


def test_the_dead_do_not_count() -> None:
    counts = SharedCounters(2)
    mine = begun(counts)

    def come_and_go() -> bool:
        theirs = begun(counts, 1)
        theirs.enter(IP)
        theirs.note_failure(IP, 1000, 600)
        return mine.sessions_of(IP) == 1

    in_child(come_and_go)
    assert (mine.total, mine.sessions_of(IP), mine.failures_of(IP, 1000, 600)) == (0, 0, 0)


def test_only_holders_of_the_descriptor_can_write_the_counts() -> None:
    """Counters without a process use no memory of this process, and children that close them have none."""

    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count("memfd:tally")

    before = mapped()
    counts = SharedCounters(2)
    shares = counts.all_counters()
    assert mapped() == before
    shares[0].begin()
    assert mapped() == before + 1
    with pytest.raises(PermissionError):
        os.ftruncate(counts.fd, 0)


def test_a_process_begins_with_nothing() -> None:
    counts = SharedCounters()
    before = begun(counts)
    before.enter(IP)
    before.note_failure(IP, 1000, 600)
    after = begun(counts)
    assert (after.total, after.sessions_of(IP), after.failures_of(IP, 1000, 600)) == (0, 0, 0)


def test_failures_are_forgotten_after_a_while() -> None:
    share = begun(SharedCounters())
    share.note_failure(IP, 1000, 600)
    share.note_failure(IP, 1500, 600)
    assert [share.failures_of(IP, now, 600) for now in (1500, 1600, 1601)] == [2, 2, 0]
    share.note_failure(IP, 1601, 600)
    assert share.failures_of(IP, 1601, 600) == 1


def test_counters_use_bounded_memory() -> None:
    """With more addresses than slots no address gets too many, and each has its own in its own process."""
    share = begun(SharedCounters())
    addresses = [b"2001:db8::%x" % number for number in range(20_000)]
    for address in addresses:
        share.enter(address)
        share.note_failure(address, 1000, 600)
    assert all(share.sessions_of(address) == 1 for address in addresses)
    assert all(share.failures_of(address, 1000, 600) <= 1 for address in addresses)
    for address in addresses:
        share.leave(address)
    assert share.total == 0
    assert not any(share.sessions_of(address) for address in addresses)
