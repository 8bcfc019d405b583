"""What is shown on terminals and sent to syslog."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail.preview import arrival_notice, listing_entry
from eqmail_core.tools.syslog_lines import ALERT, INFO, WARNING, SyslogLines
from eqmail_core.tools.terminals import terminals_of

US = 1_600_000_000_000_042


def test_a_notice_has_two_short_printable_lines() -> None:
    text = arrival_notice(b"s\x01@x", b"joe", [b"Subject: hi\x1b there\n"], b"\nbody " + b"y" * 200)
    assert text.startswith(b"\r\n\a*** TO <joe> FROM <s_@x>\r\n    hi/ there//body yyy")
    assert len(text.split(b"\r\n")[2]) == 78


def test_an_entry_shows_envelope_and_from() -> None:
    fields = [b"Return-Path: <a@b>\n", b"Delivered-To: x@y\n", b"From: me\n", b"Subject: hi\n"]
    assert listing_entry(fields, b"\nbody\n") == b"FROM <a@b> TO <x@y>\n\033[1mFrom: me\033[0m\nhi//body/\n\n"
    assert listing_entry([], b"") == b"FROM ? TO <?>\n\n\n"


def record(kind: int, line: bytes, user: bytes) -> bytes:
    return struct.pack("=hxxi32s4s32s", kind, 1, line, b"", user).ljust(384, b"\0")


def test_terminals_are_those_of_live_sessions_of_the_user() -> None:
    table = record(7, b"pts/3", b"joe") + record(8, b"pts/4", b"joe") + record(7, b"tty1", b"joey")
    table += (
        record(7, b"../etc", b"joe")
        + record(7, b"/dev/x", b"joe")
        + record(7, b"", b"joe")
        + record(7, b"tty2", b"joe")
    )
    assert terminals_of(b"joe", table + b"torn") == [b"pts/3", b"tty2"]


@given(st.binary(max_size=3000), st.integers(1, 900))
def test_log_fragmentation_makes_no_difference(log: bytes, size: int) -> None:
    whole, pieces = SyslogLines(False), SyslogLines(False)
    expected = whole.feed(log + b"\n", US)
    found = [entry for at in range(0, len(log), size) for entry in pieces.feed(log[at : at + size], US)]
    assert found + pieces.feed(b"\n", US) == expected
    assert all(0 < len(text) < 800 and text.isascii() and text.decode().isprintable() for _, text in expected)


def test_stamps_and_ranks_are_those_of_the_first_piece() -> None:
    lines = SyslogLines(True)
    assert lines.feed(b"warning: x\nalert: y\nplain\n\nalert:" + b"z" * 793, US) == [
        (WARNING, b"1600000000.000042 warning: x"),
        (ALERT, b"1600000000.000042 alert: y"),
        (INFO, b"1600000000.000042 plain"),
    ]
    long = lines.feed(b"z\t\xe4\nnext\n", US + 1)
    assert [rank for rank, _ in long] == [ALERT, ALERT, INFO]
    assert long[1] == (ALERT, b"1600000000.000043+z??")
