"""The user that owns an address."""

import pytest

from eqmail_core.users.user import LookupFailed, User


def test_fields_survive_a_round_trip() -> None:
    user = User(b"joe", 501, 500, b"/home/joe", b"-", b"Ext")
    assert User.from_fields(user.fields()) == user


@pytest.mark.parametrize(("text", "number"), [(b"12", 12), (b"12abc", 12), (b"abc", 0), (b"", 0), (b"-5", 0)])
def test_numbers_are_their_leading_digits(text: bytes, number: int) -> None:
    assert User.from_fields([b"a", text, b"1", b"/", b"", b""]).uid == number


def test_an_entry_without_six_fields_is_a_usage_error() -> None:
    with pytest.raises(LookupFailed) as failed:
        User.from_fields([b"a", b"1", b"1", b"/", b""])
    assert failed.value.code == 112


def test_fields_behind_the_sixth_are_ignored() -> None:
    assert User.from_fields([b"a", b"1", b"2", b"/", b"-", b"x", b"more"]).ext == b"x"
