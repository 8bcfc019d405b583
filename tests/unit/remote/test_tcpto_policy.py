"""When a slow host is skipped, and what an attempt changes."""

from eqmail_core.remote.tcpto_table import INET, INET6, TcptoEntry, after_attempt, is_to_skip

IP = bytes([192, 0, 2, 1])
OTHER = bytes([192, 0, 2, 2])
FREE = TcptoEntry(INET, 0, 0, bytes(4))
NOW = 1_000_000


def entry(count: int, age: int, ip: bytes = IP) -> TcptoEntry:
    return TcptoEntry(INET, count, NOW - age, ip)


def test_one_failure_is_forgiven() -> None:
    assert not is_to_skip([entry(1, 1)], INET, IP, NOW, 0)


def test_two_failures_make_a_host_wait_for_64_minutes() -> None:
    assert is_to_skip([entry(2, 60 * 64 - 1)], INET, IP, NOW, 0)
    assert not is_to_skip([entry(2, 60 * 64)], INET, IP, NOW, 0)


def test_the_wait_is_spread_by_the_process_number() -> None:
    assert is_to_skip([entry(2, 91 * 64 - 1)], INET, IP, NOW, 31)
    assert not is_to_skip([entry(2, 60 * 64)], INET, IP, NOW, 32)


def test_other_hosts_and_families_do_not_count() -> None:
    assert not is_to_skip([entry(5, 1)], INET, OTHER, NOW, 0)
    assert not is_to_skip([entry(5, 1)], INET6, IP, NOW, 0)


def test_a_new_failure_takes_the_first_free_place() -> None:
    assert after_attempt([entry(3, 9, OTHER), FREE, FREE], INET, IP, NOW, True) == (1, entry(1, 0))


def test_a_full_table_replaces_the_least_recent_host() -> None:
    table = [entry(1, 5000, OTHER), entry(9, 6000, bytes(4)), entry(1, 5001, b"abcd")]
    assert after_attempt(table, INET, IP, NOW, True) == (2, entry(1, 0))


def test_failures_in_quick_succession_count_once() -> None:
    assert after_attempt([entry(1, 119)], INET, IP, NOW, True) is None
    assert after_attempt([entry(1, 120)], INET, IP, NOW, True) == (0, entry(2, 0))


def test_the_count_ends_at_ten() -> None:
    assert after_attempt([entry(10, 500)], INET, IP, NOW, True) == (0, entry(10, 0))


def test_success_clears_the_count_and_keeps_the_time() -> None:
    assert after_attempt([entry(7, 500)], INET, IP, NOW, False) == (0, entry(0, 500))


def test_success_of_an_unknown_host_changes_nothing() -> None:
    assert after_attempt([FREE, entry(1, 1, OTHER)], INET, IP, NOW, False) is None


def test_an_empty_table_stays_empty() -> None:
    assert after_attempt([], INET, IP, NOW, True) is None
