"""An assign file from the accounts."""

from errno import EACCES, ENOENT

import pytest

from eqmail_core.users.pw2u import ANY_HOME, HOME_MUST_EXIST, AssignRules, CannotAssign, assign_text

PASSWD = [
    b"root:x:0:0::/root:/bin/sh",
    b"alias:x:77:78::/alias:/bin/true",
    b"joe:x:501:500::/joe:/bin/sh",
    b"Big:x:502:500::/big:/bin/sh",
    b"gone:x:503:500::/gone:/bin/sh",
    b"broken:line",
    b"",
]
OWNERS = {b"/root": 0, b"/alias": 77, b"/joe": 501, b"/big": 502}


def owner(home: bytes) -> int:
    if home not in OWNERS:
        raise OSError(ENOENT, "")
    return OWNERS[home]


def lines(rules: AssignRules) -> list[bytes]:
    return b"".join(assign_text(rules, PASSWD, owner)).splitlines()


@pytest.fixture
def rules() -> AssignRules:
    return AssignRules(b"alias", b"+")


def test_every_account_with_a_home_gets_two_lines_and_alias_the_rest(rules: AssignRules) -> None:
    assert lines(rules) == [
        b"+:alias:77:78:/alias:-::",
        b"=alias:alias:77:78:/alias:::",
        b"+alias+:alias:77:78:/alias:-::",
        b"=joe:joe:501:500:/joe:::",
        b"+joe+:joe:501:500:/joe:-::",
        b".",
    ]


def test_a_home_may_be_demanded(rules: AssignRules) -> None:
    rules.homes = HOME_MUST_EXIST
    with pytest.raises(CannotAssign, match="unable to stat /gone"):
        lines(rules)


def test_a_home_that_cannot_be_examined_stops_everything(rules: AssignRules) -> None:
    def locked(home: bytes) -> int:
        raise OSError(EACCES, "")

    with pytest.raises(CannotAssign, match="unable to stat /alias"):
        list(assign_text(rules, PASSWD, locked))


def test_homes_and_upper_case_may_be_ignored(rules: AssignRules) -> None:
    rules.homes, rules.allow_upper_case, rules.break_char = ANY_HOME, True, b""
    assert [line for line in lines(rules) if line.startswith(b"=")] == [
        b"=alias:alias:77:78:/alias:::",
        b"=joe:joe:501:500:/joe:::",
        b"=Big:Big:502:500:/big:::",
        b"=gone:gone:503:500:/gone:::",
    ]


def test_mail_names_replace_the_own_name(rules: AssignRules) -> None:
    rules.mail_names = {b"joe": b"Joe.Smith::js"}
    assert [line for line in lines(rules) if b":joe:" in line] == [
        b"=Joe.Smith:joe:501:500:/joe:::",
        b"+Joe.Smith+:joe:501:500:/joe:-::",
        b"=js:joe:501:500:/joe:::",
        b"+js+:joe:501:500:/joe:-::",
    ]


def test_subusers_share_an_account(rules: AssignRules) -> None:
    rules.subusers, rules.dash = [b"info:joe:inf:", b"ignored"], b"-/"
    assert lines(rules)[-3:] == [b"=info:joe:501:500:/joe:-/:inf:", b"+info+:joe:501:500:/joe:-/:inf-:", b"."]


def test_a_subuser_without_an_account_is_fatal(rules: AssignRules) -> None:
    rules.subusers = [b"info:gone:inf:"]
    with pytest.raises(CannotAssign, match="unable to find gone user for subuser"):
        lines(rules)


def test_without_alias_there_is_no_file(rules: AssignRules) -> None:
    rules.exclude = {b"alias"}
    with pytest.raises(CannotAssign, match="unable to find alias user"):
        lines(rules)
