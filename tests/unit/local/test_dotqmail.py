"""Lines of .qmail files."""

import pytest

from eqmail_core.local.delivery.dotqmail import FORWARD, MAILDIR, MBOX, PROGRAM, REFUSED, parse, plain


@pytest.mark.parametrize(
    ("text", "instructions"),
    [
        (b"./Maildir/\n", [(MAILDIR, b"./Maildir/")]),
        (b"/abs/dir/", [(MAILDIR, b"/abs/dir/")]),
        (b"./Mailbox\n", [(MBOX, b"./Mailbox")]),
        (b"| cmd a \t\n", [(PROGRAM, b" cmd a")]),
        (b"&a@b\nc@d\n", [(FORWARD, b"a@b"), (FORWARD, b"c@d")]),
        (b"&  f@g\n", [(FORWARD, b"  f@g")]),
        (b"# comment\n\n./m\n\n", [(MBOX, b"./m")]),
        (b"+other\n./m\n", [(MBOX, b"./m")]),
        (b"&a@b\r\n", [(FORWARD, b"a@b\r")]),
        (b"#only", []),
    ],
)
def test_each_line_is_an_instruction(text: bytes, instructions: list[tuple[bytes, bytes]]) -> None:
    assert parse(text) == instructions


@pytest.mark.parametrize("text", [b"\n./m\n", b"  \t\n./m\n", b"\0x\n./m\n", b"\n", b""])
def test_a_blank_first_line_refuses_everything(text: bytes) -> None:
    assert parse(text) == [(REFUSED, b"Uh-oh: first line of .qmail file is blank. (#4.2.1)")]


def test_forward_only_stops_at_the_first_delivery_and_keeps_what_is_before() -> None:
    refused = (REFUSED, b"Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)")
    assert parse(b"&a@b\n|cmd\n&c@d\n", forward_only=True) == [(FORWARD, b"a@b"), refused]


def test_list_line_forbids_what_follows_only() -> None:
    refused = (REFUSED, b"Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)")
    assert parse(b"./m\n+list\n./n\n") == [(MBOX, b"./m"), refused]


def test_the_system_sees_an_argument_up_to_nul() -> None:
    assert plain(b"a@b\0c") == b"a@b"
