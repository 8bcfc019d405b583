"""Lines of a header, a log or an mbox stay one line, whatever untrusted text they contain."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.dsn import qsbmf as bounce
from eqmail_core.dsn import rfc3464 as dsn
from eqmail_core.local.delivery.request import delivered_to_line, return_path_line
from eqmail_core.mail import mbox, received
from eqmail_core.queue.format import send_log as log_line
from eqmail_core.system.log import log_safe
from eqmail_core.tools.receipt import receipt_for

WORDS = st.lists(st.sampled_from([b"\n", b"\r", b"\0", b"a", b"@", b'"', b"\\", b" ", b"\t", b"Bcc: x", b"\xff"])).map(
    b"".join
) | st.binary(max_size=40)

LINES: dict[str, Callable[[bytes], bytes]] = {
    "RPLINE": return_path_line,
    "DTLINE": delivered_to_line,
    "UFLINE": lambda word: mbox.from_line(word, 0.0),
    "Received": lambda word: received.received(word, word, word, word, word, b"SMTP", b"date"),
    "Return-Path of what comes back": bounce.return_path,
    "head of a bounce": lambda word: bounce.bounce_head(b"date", b"box", b"host", word, False, b"1.a"),
    "block of a bounce": lambda word: bounce.failure_block(word, b"report\n"),
    "head of a report": lambda word: dsn.report_head(b"date", b"box", b"host", word, b"subject", b"1.a", b"boundary"),
    "head of a status": lambda word: dsn.status_head(b"boundary", b"host", b"date", b"x" + word),
    "status of a recipient": lambda word: dsn.recipient_status(word, b"report\n", dsn.FAILED),
    "report in a status": lambda word: dsn.recipient_status(b"a@b", b"x" + word, dsn.FAILED),
    "receipt": lambda word: receipt_for([b"Notice-Requested-Upon-Delivery-To: a@b\n"], b"a@b", word or b"x"),
    "log, start": lambda word: log_line.LogLines().starting(1, 2, b"local", word),
    "log, message": lambda word: log_line.HeadLogLines().about_message(1, 2, word, 3, 4),
    "log, report": lambda word: log_line.LogLines().report(1, b"D", word),
    "log, audit": lambda word: log_line.LogLines().audit(1, b"delete", 2, word, b"done"),
    "log of a service": lambda word: log_safe(word) + b"\n",
}


@pytest.mark.parametrize("name", LINES)
@given(word=WORDS)
def test_an_argument_never_starts_a_new_line(name: str, word: bytes) -> None:
    make = LINES[name]
    made = make(word)
    assert made.count(b"\n") == make(b"x").count(b"\n"), made
    assert b"\r" not in made and b"\0" not in made


def test_line_breaks_in_a_sender_are_replaced_as_by_c() -> None:
    assert return_path_line(b"a\nBcc: x@y") == b'Return-Path: <"a\\_Bcc: x"@y>\n'
    assert return_path_line(b"a@y\nBcc: x") == b"Return-Path: <a@y_Bcc: x>\n"
    assert delivered_to_line(b"a\nb@y") == b"Delivered-To: a_b@y\n"
