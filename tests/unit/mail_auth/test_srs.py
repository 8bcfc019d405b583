"""SRS and BATV: round trips of addresses, valid for their creator only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail_auth.batv import InvalidBatv, is_signed, restore_address, sign_sender
from eqmail_core.mail_auth.srs import MAX_AGE_DAYS, InvalidSrs, is_srs, restore_sender, rewrite_sender

SECRET, OLD = b"secret", b"older"
DAY = 86400
NOW = 20000 * DAY + 5
LOCALS = st.from_regex(rb"[a-z0-9=+._-]{1,20}", fullmatch=True)
HOSTS = st.from_regex(rb"[a-z0-9-]{1,10}\.[a-z]{2,5}", fullmatch=True)


@given(LOCALS, HOSTS, st.integers(0, 2000))
def test_a_sender_comes_back_through_any_number_of_forwarders(local: bytes, host: bytes, day: int) -> None:
    now = day * DAY
    sender = b"%b@%b" % (local, host)
    once = rewrite_sender(sender, b"one.test", SECRET, now)
    twice = rewrite_sender(once, b"two.test", OLD, now)
    thrice = rewrite_sender(twice, b"three.test", SECRET, now)
    if is_srs(sender):
        return
    assert restore_sender(thrice, [SECRET], now) == restore_sender(twice, [OLD], now) == once
    assert restore_sender(once, [SECRET], now) == sender
    assert len(thrice) <= len(twice) + 10


def test_bounces_come_back_for_three_weeks_whatever_became_of_the_case() -> None:
    address = rewrite_sender(b"Joe@a.test", b"me.test", SECRET, NOW)
    assert restore_sender(address, [SECRET], NOW + MAX_AGE_DAYS * DAY) == b"Joe@a.test"
    assert restore_sender(address.lower(), [b"new", SECRET], NOW).lower() == b"joe@a.test"
    with pytest.raises(InvalidSrs, match="too old"):
        restore_sender(address, [SECRET], NOW + (MAX_AGE_DAYS + 1) * DAY)


@pytest.mark.parametrize(
    "address",
    [
        b"joe@me.test",
        b"SRS0=AAAA=AA=a.test=joe@me.test",
        b"SRS1=AAAA=a.test==BBBB=AA=b.test=joe@me.test",
        b"SRS0=x@me.test",
        b"SRS0@me.test",
    ],
)
def test_addresses_that_this_host_has_not_made(address: bytes) -> None:
    with pytest.raises(InvalidSrs):
        restore_sender(address, [SECRET], NOW)


def test_the_null_sender_stays_and_one_without_a_domain_is_refused() -> None:
    assert rewrite_sender(b"", b"me.test", SECRET, NOW) == b""
    with pytest.raises(InvalidSrs):
        rewrite_sender(b"joe", b"me.test", SECRET, NOW)


@given(st.binary(max_size=80))
def test_any_bytes_are_restored_or_refused(address: bytes) -> None:
    with pytest.raises(InvalidSrs):
        restore_sender(address, [SECRET], NOW)


@given(LOCALS, HOSTS)
def test_a_signed_sender_comes_back(local: bytes, host: bytes) -> None:
    sender = b"%b@%b" % (local, host)
    address = sign_sender(sender, SECRET, NOW)
    if not is_signed(sender):
        assert is_signed(address)
        assert restore_address(address, [OLD, SECRET], NOW + 7 * DAY) == sender
        assert sign_sender(address, SECRET, NOW) == address


def test_signed_senders_of_others_and_old_ones_are_refused() -> None:
    address = sign_sender(b"joe@a.test", SECRET, NOW)
    for wrong in (b"joe@a.test", address.replace(b"joe", b"jim")):
        with pytest.raises(InvalidBatv):
            restore_address(wrong, [SECRET], NOW)
    with pytest.raises(InvalidBatv, match="too old"):
        restore_address(address, [SECRET], NOW + 8 * DAY)
    with pytest.raises(InvalidBatv):
        restore_address(address, [b"other"], NOW)
    assert sign_sender(b"", SECRET, NOW) == b""
