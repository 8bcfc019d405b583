"""Recipients and form of reports on failures and delays."""

from email import message_from_bytes, policy
from email.message import Message

import pytest

from eqmail_core.dsn.notification import BounceConfig, Notification, ReportedMessage, compose, delay_warning
from eqmail_core.dsn.qsbmf import failure_block
from eqmail_core.dsn.rfc3464 import blocks, header_only
from eqmail_core.mail.address import DOUBLE_BOUNCE

POSTMASTER = BounceConfig(b"MAILER-DAEMON", b"me.org", b"postmaster@me.org")
REPORTER = BounceConfig(b"MAILER-DAEMON", b"me.org", b"postmaster@me.org", is_dsn=True, max_bytes=200)
ORIGINAL = b"From: a@b\nSubject: =?x?\n\nbody \xff\n"
FAILURES = (
    failure_block(b"joe@x.org", b"10.0.0.1 does not like recipient.\nRemote host said: 550 5.1.1 no\nsuch user\n"),
    failure_block("jös@x.org".encode(), b"Sorry, no mailbox here by that name. (#5.1.1)\n"),
)


def returned(sender: bytes, original: bytes = ORIGINAL) -> ReportedMessage:
    return ReportedMessage(sender, b"then", len(original), lambda: FAILURES, lambda: iter([original[:7], original[7:]]))


def composed(sender: bytes, postmaster: BounceConfig = POSTMASTER, original: bytes = ORIGINAL) -> Notification:
    bounce = compose(returned(sender, original), postmaster, b"now", b"=_b")
    assert bounce is not None
    return bounce


def report(bounce: Notification) -> Message:
    return message_from_bytes(b"".join(bounce.pieces), policy=policy.compat32)


def test_a_bounce_has_the_null_sender() -> None:
    bounce = composed(b"a@b")
    assert (bounce.envelope.sender, bounce.recipient) == (b"", b"a@b")
    assert b"".join(bounce.pieces).endswith(
        b"--- Below this line is a copy of the message.\n\nReturn-Path: <a@b>\n" + ORIGINAL
    )


def test_a_verp_sender_gets_one_bounce_at_its_base_address() -> None:
    bounce = composed(b"list-@example.org-@[]")
    assert bounce.recipient == b"list-@example.org"
    assert b"Return-Path: <list-@example.org>\n" in b"".join(bounce.pieces)


@pytest.mark.parametrize("postmaster", [POSTMASTER, REPORTER])
def test_a_failed_bounce_goes_to_the_postmaster(postmaster: BounceConfig) -> None:
    bounce = composed(b"", postmaster)
    assert (bounce.envelope.sender, bounce.recipient) == (DOUBLE_BOUNCE, b"postmaster@me.org")


def test_a_failed_double_bounce_is_discarded() -> None:
    assert compose(returned(DOUBLE_BOUNCE), POSTMASTER, b"now", b"=_b") is None


def test_a_report_has_machine_readable_failures() -> None:
    message = report(composed(b"a@b", REPORTER))
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    text, status, original = message.get_payload()
    assert text.get_payload(decode=True).startswith(b"Hi. This is the qmail-send program at me.org.\n")
    of_message, first, second = status.get_payload()
    assert of_message["Reporting-MTA"] == "dns; me.org"
    assert dict(first) == {
        "Final-Recipient": "rfc822; joe@x.org",
        "Action": "failed",
        "Status": "5.1.1",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
    }
    assert second["Final-Recipient"] == "utf-8; j\\x{F6}s@x.org"
    assert second["Status"] == "5.1.1"
    assert original.get_content_type() == "message/rfc822"
    assert original.get_payload()[0]["Return-Path"] == "<a@b>"
    assert original.get_payload()[0].get_payload(decode=True).rstrip() == b"body \xff"


def test_a_large_message_comes_back_as_its_header() -> None:
    large = ORIGINAL + b"x\n" * 200
    original = report(composed(b"a@b", REPORTER, large)).get_payload()[2]
    assert original.get_content_type() == "text/rfc822-headers"
    assert original.get_payload() == "Return-Path: <a@b>\nFrom: a@b\nSubject: =?x?\n"
    small = BounceConfig(b"MAILER-DAEMON", b"me.org", b"p@me.org", max_bytes=100)
    text = b"".join(composed(b"a@b", small, large).pieces)
    assert text.endswith(b"From: a@b\nSubject: =?x?\n\n--- The message had 432 bytes; only its header is shown.\n")


def test_a_warning_of_delay_is_no_failure() -> None:
    bounce = delay_warning(returned(b"a@b"), POSTMASTER, b"now", b"=_b")
    assert bounce is not None
    assert (bounce.envelope.sender, bounce.recipient) == (b"", b"a@b")
    text = b"".join(bounce.pieces)
    assert b"qmail-send program" not in text
    assert b"body" not in text
    status = message_from_bytes(text).get_payload()[1].get_payload()
    assert [it["Action"] for it in status[1:]] == ["delayed", "delayed"]


@pytest.mark.parametrize("sender", [b"", DOUBLE_BOUNCE])
def test_no_delay_warning_for_a_bounce(sender: bytes) -> None:
    assert delay_warning(returned(sender), POSTMASTER, b"now", b"=_b") is None


@pytest.mark.parametrize("step", [1, 2, 5, 1000])
def test_blocks_and_headers_are_found_in_any_pieces(step: int) -> None:
    def cut(text: bytes) -> list[bytes]:
        return [text[at : at + step] for at in range(0, len(text), step)]

    assert [recipient for recipient, _ in blocks(cut(b"".join(FAILURES)))] == [b"joe@x.org", "jös@x.org".encode()]
    assert b"".join(header_only(cut(ORIGINAL), 1000)) == b"From: a@b\nSubject: =?x?\n"
    assert b"".join(header_only(cut(b"\nbody\n"), 1000)) == b""
    assert b"".join(header_only(cut(b"a: b\n" * 100), 12)) == b"a: b\na: b\na:"


@pytest.mark.parametrize("postmaster", [POSTMASTER, REPORTER])
def test_every_report_has_a_message_id_and_is_auto_submitted(postmaster: BounceConfig) -> None:
    warning = delay_warning(returned(b"a@b"), postmaster, b"now", b"9.ab")
    assert warning is not None
    for bounce in (compose(returned(b"a@b"), postmaster, b"now", b"9.ab"), warning):
        assert bounce is not None
        message = report(bounce)
        assert message.get_all("Message-ID") == ["<9.ab@me.org>"]
        assert message.get_all("Auto-Submitted") == ["auto-replied"]


@pytest.mark.parametrize(
    ("output", "original", "charset"),
    [
        (b"no", b"Subject: x\n\nplain\n", None),
        (b"no", "Subject: x\n\nGrüße\n".encode(), "utf-8"),
        ("nö".encode(), b"Subject: x\n\nplain\n", "utf-8"),
        ("nö".encode("latin-1"), b"Subject: x\n\nplain\n", "unknown-8bit"),
        (b"no", "Subject: x\n\nGrüße\n".encode("latin-1"), "unknown-8bit"),
        (b"no", b"Subject: x\n\ncut \xc3", "unknown-8bit"),
    ],
)
def test_a_bounce_declares_its_charset(output: bytes, original: bytes, charset: str | None) -> None:
    it = ReportedMessage(b"a@b", b"then", len(original), lambda: [failure_block(b"j@x", output)], lambda: [original])
    bounce = compose(it, POSTMASTER, b"now", b"9.ab")
    assert bounce is not None
    message = report(bounce)
    assert message.get_content_charset() == charset
    assert message["Content-Transfer-Encoding"] == (charset and "8bit")
    assert (message["MIME-Version"] is None) == (charset is None)


def test_the_text_part_matches_its_declared_encoding() -> None:
    it = ReportedMessage(b"a@b", b"then", 9, lambda: [failure_block(b"j@x", b"no\xe4 \xc3\xa4\n")], lambda: [ORIGINAL])
    for bounce in (compose(it, REPORTER, b"now", b"9.a"), delay_warning(it, REPORTER, b"now", b"9.a")):
        assert bounce is not None
        text = report(bounce).get_payload()[0]
        assert text.get_content_charset() == "utf-8"
        assert "no\ufffd ä" in text.get_payload(decode=True).decode("utf-8")


def test_a_report_that_ends_in_empty_lines_hides_no_recipient_behind_it() -> None:
    failures = [failure_block(b"joe@x", b"\n\nlines\n\n"), failure_block(b"jim@x", b"no\n")]
    it = ReportedMessage(b"a@b", b"then", 9, lambda: iter([b"".join(failures)]), lambda: [ORIGINAL])
    bounce = compose(it, REPORTER, b"now", b"9.a")
    assert bounce is not None
    assert b"".join(bounce.pieces).count(b"Final-Recipient:") == 2
    plain = compose(it, POSTMASTER, b"now", b"9.a")
    assert plain is not None
    assert b"".join(failures) in b"".join(plain.pieces)


@pytest.mark.parametrize("is_dsn", [False, True])
def test_a_report_lists_a_bounded_number_of_recipients(is_dsn: bool) -> None:
    failures = [failure_block(b"r%d@x" % count, b"no\n") for count in range(50)]
    it = ReportedMessage(b"a@b", b"then", 9, lambda: iter([b"".join(failures)]), lambda: [ORIGINAL])
    bounce = compose(it, BounceConfig(b"M", b"me.org", b"p@me.org", is_dsn, max_recipients=20), b"now", b"9.a")
    assert bounce is not None
    text = b"".join(bounce.pieces)
    assert b"<r19@x>:" in text
    assert b"r20@x" not in text
    assert b"\n\n(30 more recipients are not listed here.)\n\n" in text
    assert text.count(b"Final-Recipient:") == (20 if is_dsn else 0)


def test_a_report_lists_a_bounded_number_of_bytes() -> None:
    failures = [failure_block(b"r%d@x" % count, b"n" * 9000) for count in range(200)]
    it = ReportedMessage(b"a@b", b"then", 9, lambda: failures, lambda: [ORIGINAL])
    bounce = compose(it, POSTMASTER, b"now", b"9.a")
    assert bounce is not None
    text = b"".join(bounce.pieces)
    assert len(text) < (1 << 20) + 2000
    assert b" more recipients are not listed here.)" in text
