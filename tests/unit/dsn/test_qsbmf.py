"""Texts of bounces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.dsn.qsbmf import bounce_break, bounce_head, failure_block
from eqmail_core.mail.address import one_line


@pytest.mark.parametrize(
    ("report", "block"),
    [
        (b"no newline", b"<r@h>:\nno newline\n\n"),
        (b"fail1\n", b"<r@h>:\nfail1\n\n"),
        (b"", b"<r@h>:\n\n"),
        (b"\n\n\nlines\n\n", b"<r@h>:\n///lines\n\n\n"),
        (b"550 no\n\nempty above\n", b"<r@h>:\n550 no\n/empty above\n\n"),
    ],
)
def test_a_block_never_has_an_empty_line_inside(report: bytes, block: bytes) -> None:
    assert failure_block(b"r@h", report) == block


@given(st.binary(max_size=40), st.lists(st.sampled_from([b"a", b"\n", b"b "]), max_size=12).map(b"".join))
def test_every_block_begins_with_its_recipient_and_ends_empty(recipient: bytes, report: bytes) -> None:
    block = failure_block(recipient, report)
    assert block.startswith(b"<" + one_line(recipient) + b">:\n")
    assert block.endswith(b"\n\n")
    assert b"\n\n" not in block[:-2]


def test_a_single_bounce_follows_qsbmf() -> None:
    head = bounce_head(b"2 Nov 2026 20:31:41 +0000", b"MAILER-DAEMON", b"me.org", b"od d@h.x", False, b"7.ab")
    assert head == (
        b"Date: 2 Nov 2026 20:31:41 +0000\n"
        b"From: MAILER-DAEMON@me.org\n"
        b'To: "od d"@h.x\n'
        b"Subject: failure notice\n"
        b"Message-ID: <7.ab@me.org>\n"
        b"Auto-Submitted: auto-replied\n"
        b"\n"
        b"Hi. This is the qmail-send program at me.org.\n"
        b"I'm afraid I wasn't able to deliver your message to the following addresses.\n"
        b"This is a permanent error; I've given up. Sorry it didn't work out.\n"
        b"\n"
    )
    assert bounce_break(b"od d@h.x", is_double=False) == (
        b'--- Below this line is a copy of the message.\n\nReturn-Path: <"od d"@h.x>\n'
    )


def test_a_double_bounce_reports_a_bounced_bounce() -> None:
    head = bounce_head(b"D", b"x y", b"me.org", b"postmaster@me.org", True, b"7.ab")
    assert b'From: "x y"@me.org\n' in head
    assert head.endswith(b"I tried to deliver a bounce message to this address, but the bounce bounced!\n\n")
    assert bounce_break(b"", is_double=True) == b"--- Below this line is the original bounce.\n\nReturn-Path: <>\n"
