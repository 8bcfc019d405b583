"""Valid contents of control files: one table for all callers."""

import pytest

from eqmail_core.control.checks import CHECKS, troubles
from eqmail_core.control.controls import Controls
from eqmail_core.control.kinds import Count
from eqmail_core.control.setting import Control

BY_FILE = {control.file: control for control in Controls.declared().values()}


def output(file: str, text: bytes) -> list[str]:
    return [trouble.said for trouble in troubles(BY_FILE[file], text)]


@pytest.mark.parametrize(
    ("file", "text", "trouble"),
    [
        ("me", b"\n", "is empty; every host has a name"),
        ("me", b"", "is empty; every host has a name"),
        ("me", b"a b\n", "'a b' is not a host name"),
        ("me", b" a\n", "begins with a blank, which is part of the value"),
        ("me", b"mail.example.org\r\n", "line 1 ends in CR (a file of Windows), which counts as part of the line"),
        ("smtpgreeting", b"\n", "is empty; its first word should be the name of this host"),
        ("smtproutes", b"*:relay\n", "'*:relay' has a * that matches nothing: .DOMAIN stands for every host below it"),
        ("smtproutes", b"*.a.b:relay u secret\n", "'*.a.b:relay' has a * that matches nothing"),
        ("smtproutes", b"a.b: relay\n", "has a blank behind the colon, so it names no relay"),
        ("smtproutes", b"a.b:relay:99999999999999999999999\n", "has an invalid port"),
        ("virtualdomains", b"a.b: joe\n", "has a blank behind the colon, which would be part of every address"),
        ("virtualdomains", b"*.a.b:joe\n", "has a * that matches nothing"),
        ("virtualdomains", b"a.b:joe@c.d\n", "has no user behind the colon"),
        ("locals", b"*.example.com\n", "has a * that matches nothing"),
        ("locals", b".example.com\n", "begins with a dot and matches nothing here"),
        ("rcpthosts", b"a@b\n", "'a@b' is not a domain"),
        ("relayclients", b"10.0.0.0/99\n", "'10.0.0.0/99' is not an address or a network"),
        ("proxyfrom", b"proxy\n", "is not an address or a network"),
        ("badmailfrom", b"spam.example\n", "matches no address"),
        ("badmailfrom", b"*@x\n", "has a * that matches nothing"),
        ("smtplisten", b"25\n", "'25' is not ADDRESS:PORT"),
        ("smtplisten", b"[::g]:25\n", "is not ADDRESS:PORT"),
        ("smtplisten", b"1.2.3:25\n", "is not ADDRESS:PORT"),
        ("smtplisten", b":0\n", "is not ADDRESS:PORT"),
        ("smtplisten", b"127.0.0.1:25\r\n", "line 1 ends in CR"),
        ("defaultdelivery", b"./Maildir\n", "'./Maildir' is an mbox; the name of a Maildir ends in /"),
        ("defaultdelivery", b"~/Maildir/\n", "'~/Maildir/' is an address, as ~ means no home here"),
        ("defaultdelivery", b"Maildir/\n", "'Maildir/' is an address; write ./ before the name of a mailbox"),
        ("defaultdelivery", b"\n", "has no instruction in its first line"),
        ("defaultdelivery", b"", "has no instruction in its first line"),
        ("bounceformat", b"mime\n", "'mime' is not one of qsbmf, dsn"),
        ("smtpgreeting", "größer\n".encode(), "is not ASCII"),
        ("doublebouncehost", b"a\xe4\n", "holds what is no UTF-8: \\xe4"),
    ],
)
def test_values_that_earlier_versions_accepted_are_reported(file: str, text: bytes, trouble: str) -> None:
    assert any(trouble in each for each in output(file, text)), output(file, text)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("me", b"mail.example.org\n"),
        ("smtproutes", b":relay\n.a.b:[192.0.2.1]:26 user pass word\na.b:\njoe@a.b:relay:465\n"),
        ("smtproutes", b"a.b::587\n"),
        ("virtualdomains", b"a.b:joe\n.a.b:joe-x\njim@a.b:joe\nc.d:\n:all\n"),
        ("locals", "mail.example.org\n# note\nmüller.example\n".encode()),
        ("rcpthosts", b".example.com\nexample.com\n"),
        ("badmailfrom", b"@spam.example\n.spam.example\njoe@spam.example\n"),
        ("smtplisten", b":25\n0.0.0.0:25\n[::]:587\ntls:[::1]:465\nlocalhost:2525\n"),
        ("defaultdelivery", b"# all\n./Maildir/\n"),
        ("defaultdelivery", b"./Mailbox\n"),
        ("defaultdelivery", b"|dot-forward .forward\n./Mailbox\n&joe@a.b\njim\n"),
        ("servercert.pem", b"-----BEGIN\r\n\xff\0\n"),
        ("relayclients", b"10.0.0.0/8\n::1\n"),
    ],
)
def test_valid_values_give_no_remarks(file: str, text: bytes) -> None:
    assert output(file, text) == []


def test_no_remark_contains_a_password() -> None:
    for text in (
        b"a.b:relay:x joe secret\n",
        b"relay joe secret\n",
        b"*:relay joe secret\n",
        b"a.b:r joe secret\n" * 2,
    ):
        assert output("smtproutes", text)
        assert "secret" not in "".join(output("smtproutes", text))


def test_every_kind_of_entry_that_a_declaration_names_has_a_check() -> None:
    assert set(CHECKS) == {control.entries for control in BY_FILE.values()} - {""}


@pytest.mark.parametrize("control", [item for item in BY_FILE.values() if item.words], ids=lambda item: item.file)
def test_a_choice_accepts_its_words_and_no_other(control: Control[object]) -> None:
    for word in control.words:
        assert output(control.file, word + b"\n") == []
    assert control.parse(b"neither\n")[0] == control.default and output(control.file, b"neither\n")


@pytest.mark.parametrize("file", ["smtpworkers", "remoteworkers", "concurrencylocal", "concurrencyremote"])
def test_a_number_out_of_range_counts_as_the_nearest_end(file: str) -> None:
    control = BY_FILE[file]
    assert isinstance(control, Count)
    value, remarks = control.parse(b"300\n")
    assert value == control.most == 255 and remarks == [f"is not between {control.least} and 255 and counts as 255"]
    assert control.parse(b"0\n")[0] == control.least


def test_checking_a_long_map_takes_linear_time() -> None:
    lines = b"".join(b"d%d.example:joe\n" % number for number in range(50_000))
    assert output("virtualdomains", lines + b"d7.example:jim\n") == ["'d7.example' is given twice, the last counts"]
