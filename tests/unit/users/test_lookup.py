"""Whose mail is it: the database's longest match, and the rules for accounts."""

from collections.abc import Callable
from errno import EIO, ENOENT

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.users.assign_file import database_records
from eqmail_core.users.lookup import find_account, find_in_database
from eqmail_core.users.user import LookupFailed, User


def database(*lines: bytes) -> Callable[[bytes], bytes | None]:
    records: dict[bytes, bytes] = {}
    for key, data in database_records([line + b"\n" for line in (*lines, b".")]):
        records.setdefault(key, data)
    return records.get


USERS = database(
    b"=joe:joe:501:500:/home/joe:::",
    b"+joe+:joe:501:500:/home/joe:-::",
    b"+list-:lst:7:7:/l:-:pre-:",
    b"+list-a-:lsa:8:8:/la:-::",
    b"=list-exact:ex:9:9:/ex:::",
    b"+:alias:3:4:/al:-::",
)


@pytest.mark.parametrize(
    ("local", "name", "dash", "ext"),
    [
        (b"joe", b"joe", b"", b""),
        (b"JOE", b"joe", b"", b""),
        (b"joe+Ext", b"joe", b"-", b"Ext"),
        (b"joe+", b"joe", b"-", b""),
        (b"joey", b"alias", b"-", b"joey"),
        (b"List-X", b"lst", b"-", b"pre-X"),
        (b"list-a-b", b"lsa", b"-", b"b"),
        (b"list-exact", b"ex", b"", b""),
        (b"list-exact2", b"lst", b"-", b"pre-exact2"),
        (b"", b"alias", b"-", b""),
    ],
)
def test_the_longest_match_wins_and_the_rest_keeps_its_case(local: bytes, name: bytes, dash: bytes, ext: bytes) -> None:
    user = find_in_database(USERS, local)
    assert user is not None
    assert (user.name, user.dash, user.ext) == (name, dash, ext)


def test_an_unmatched_address_is_left_to_getpw() -> None:
    assert find_in_database(database(b"=joe:joe:1:1:/j:::"), b"jim") is None


def test_a_wildcard_that_ends_in_upper_case_never_matches() -> None:
    assert find_in_database(database(b"+joeX:joe:1:1:/j:-::"), b"joexy") is None


def test_a_database_without_wildcard_characters_is_damaged() -> None:
    with pytest.raises(LookupFailed) as failed:
        find_in_database({b"!joe\0": b""}.get, b"joe")
    assert failed.value.code == 117


def test_only_prefixes_that_a_wildcard_may_end_with_are_looked_up() -> None:
    asked: list[bytes] = []

    def get(key: bytes) -> bytes | None:
        asked.append(key)
        return b"-" if not key else None

    assert find_in_database(get, b"a-bc") is None
    assert asked == [b"", b"!a-bc\0", b"!a-", b"!"]


@given(st.binary(max_size=40))
def test_every_local_part_finds_the_catch_all(local: bytes) -> None:
    user = find_in_database(database(b"+:alias:3:4:/al:-::"), local)
    assert user == User.from_fields((b"alias\0003\0004\0/al\0-\0" + local).split(b"\0"))


ACCOUNTS = {
    b"alias": (b"alias", 70, 71, b"/alias"),
    b"joe": (b"joe", 501, 500, b"/home/joe"),
    b"joe+x": (b"joe+x", 502, 500, b"/home/joex"),
    b"root": (b"root", 0, 0, b"/root"),
    b"thief": (b"thief", 503, 500, b"/home/joe"),
    b"gone": (b"gone", 504, 500, b"/none"),
}
OWNERS = {b"/alias": 70, b"/home/joe": 501, b"/home/joex": 502, b"/root": 0}


def owner(home: bytes) -> int:
    if home not in OWNERS:
        raise OSError(ENOENT, "no such home")
    return OWNERS[home]


@pytest.mark.parametrize(
    ("local", "name", "dash", "ext"),
    [
        (b"joe", b"joe", b"", b""),
        (b"JOE", b"joe", b"", b""),
        (b"joe+List", b"joe", b"-", b"List"),
        (b"joe+", b"joe", b"-", b""),
        (b"joe+x", b"joe+x", b"", b""),
        (b"joe+x+y", b"joe+x", b"-", b"y"),
        (b"joe-list", b"alias", b"-", b"joe-list"),
        (b"root", b"alias", b"-", b"root"),
        (b"thief", b"alias", b"-", b"thief"),
        (b"gone+a", b"alias", b"-", b"gone+a"),
        (b"", b"alias", b"-", b""),
    ],
)
def test_an_account_counts_if_it_owns_its_home_and_is_not_root(
    local: bytes, name: bytes, dash: bytes, ext: bytes
) -> None:
    user = find_account(ACCOUNTS.get, owner, b"+", b"alias", local)
    assert (user.name, user.dash, user.ext) == (name, dash, ext)


def test_without_a_break_character_only_whole_names_count() -> None:
    assert find_account(ACCOUNTS.get, owner, b"", b"alias", b"joe+y").name == b"alias"


def test_long_candidates_are_not_looked_up() -> None:
    asked: list[bytes] = []

    def account(name: bytes) -> tuple[bytes, int, int, bytes] | None:
        asked.append(name)
        return ACCOUNTS.get(name)

    find_account(account, owner, b"+", b"alias", b"a" * 31 + b"+" + b"b" * 10)
    assert asked == [b"a" * 31, b"alias"]


def test_a_home_that_may_come_back_defers() -> None:
    def away(home: bytes) -> int:
        raise OSError(EIO, "away")

    with pytest.raises(LookupFailed) as failed:
        find_account(ACCOUNTS.get, away, b"+", b"alias", b"joe")
    assert failed.value.code == 115


def test_a_missing_alias_account_is_reported() -> None:
    with pytest.raises(LookupFailed) as failed:
        find_account(lambda name: None, owner, b"+", b"alias", b"joe")
    assert failed.value.code == 116
