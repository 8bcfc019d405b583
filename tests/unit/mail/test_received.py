"""Received lines of network mail."""

from eqmail_core.mail.received import received

DATE = b"23 Nov 2026 01:02:03 +0000"


def test_it_names_the_client_and_its_helo() -> None:
    assert received(b"h.[x]", b"1.2.3.4", b"unknown", b"me there", b"unknown", b"SMTP", DATE) == (
        b"Received: from h.?x? (HELO me?there) (unknown@1.2.3.4)\n  by unknown with SMTP; 23 Nov 2026 01:02:03 +0000\n"
    )


def test_a_name_that_is_the_hosts_own_is_not_repeated() -> None:
    line = received(b"c.test", b"::1", None, None, b"mx.test", b"ESMTPA", DATE)
    assert line == b"Received: from c.test (::1)\n  by mx.test with ESMTPA; " + DATE + b"\n"


def test_no_name_can_break_the_line() -> None:
    line = received(b"a\nb", b"1\r2", b"x\0y", b"<p>", b"q\n", b"SMTP", DATE)
    assert line.count(b"\n") == 2
    assert not set(line) & set(b"\r\0<>")
