"""Reports to senders that use RFC 3461: RFC 3464 with ENVID and ORCPT."""

from email import message_from_bytes
from email.message import Message
from typing import cast

import pytest
from flufl.bounce import all_failures

from eqmail_core.dsn.notification import (
    DELIVERED_TEXT,
    RELAYED_TEXT,
    BounceConfig,
    Notification,
    ReportedMessage,
    compose,
    delay_warning,
)
from eqmail_core.dsn.parameters import parse_dsn
from eqmail_core.dsn.qsbmf import failure_block

POSTMASTER = BounceConfig(b"MAILER-DAEMON", b"me.org", b"postmaster@me.org", max_bytes=200)
ORIGINAL = b"Subject: x\n\nbody\n"
FAILED = failure_block(b"bob-joe@x.org", b"No mailbox here by that name. (#5.1.1)\n", b"rfc822;joe+2B@x.org")
GOT = failure_block(b"jim@x.org", DELIVERED_TEXT, b"rfc822;jim@x.org")
PASSED = failure_block(b"jane@y.org", RELAYED_TEXT)
DSN = b"W E:id+3D1 l0:f:rfc822;joe+2B@x.org l20:s:rfc822;jim@x.org r0:sf:"


def returned(*blocks: bytes, dsn: bytes = DSN, sender: bytes = b"a@b.org", size: int = 17) -> ReportedMessage:
    return ReportedMessage(sender, b"then", size, lambda: iter(blocks), lambda: [ORIGINAL], parse_dsn(dsn))


def read(bounce: Notification | None) -> tuple[bytes, Message, list[Message], Message]:
    """Everything, the report, its fields (of the message, then of each recipient), and the original."""
    assert bounce is not None
    text = b"".join(bounce.pieces)
    report = message_from_bytes(text)
    assert report.get_content_type() == "multipart/report"
    _, status, original = parts(report)
    return text, report, parts(status), original


def parts(message: Message) -> list[Message]:
    """What a message is made of."""
    return cast("list[Message]", message.get_payload())


def failures(text: bytes) -> set[bytes]:
    """Those who will not get the message, as a mailing list manager reads it; there are no delayed recipients."""
    temporary, permanent = all_failures(message_from_bytes(text))
    assert not temporary
    return set(permanent)


def test_a_failure_report_repeats_envid_and_orcpt() -> None:
    text, report, (about, joe), original = read(compose(returned(FAILED), POSTMASTER, b"now", b"=_b"))
    assert report["Subject"] == "failure notice"
    assert about["Original-Envelope-Id"] == "id=1"
    assert joe["Original-Recipient"] == "rfc822; joe+@x.org"
    assert joe["Final-Recipient"] == "rfc822; bob-joe@x.org"
    assert (joe["Action"], joe["Status"]) == ("failed", "5.1.1")
    assert "Original-Recipient" not in joe["Diagnostic-Code"]
    assert original.get_content_type() == "message/rfc822"
    assert b"\n<bob-joe@x.org>:\n" in text
    assert failures(text) == {b"joe+@x.org"}


def test_a_success_report_returns_the_header_only() -> None:
    text, report, (_, jim, jane), original = read(compose(returned(GOT, PASSED), POSTMASTER, b"now", b"=_b"))
    assert report["Subject"] == "your message was delivered"
    assert (jim["Action"], jim["Status"], jim["Original-Recipient"]) == ("delivered", "2.0.0", "rfc822; jim@x.org")
    assert (jane["Action"], jane["Status"], jane["Original-Recipient"]) == ("relayed", "2.0.0", None)
    assert original.get_content_type() == "text/rfc822-headers"
    assert b"body" not in text
    assert failures(text) == set()


def test_the_text_separates_failures_from_successes() -> None:
    text, report, (_, *status), original = read(compose(returned(GOT, FAILED), POSTMASTER, b"now", b"=_b"))
    assert report["Subject"] == "failure notice"
    assert [it["Action"] for it in status] == ["delivered", "failed"]
    assert text.index(b"<bob-joe@x.org>:") < text.index(b"as you wished") < text.index(b"<jim@x.org>:")
    assert original.get_content_type() == "message/rfc822"


@pytest.mark.parametrize(
    ("dsn", "size", "kind"),
    [
        (b"W F", 17, "message/rfc822"),
        (b"W H", 17, "text/rfc822-headers"),
        (b"W F", 201, "text/rfc822-headers"),
        (b"W U F", 17, "message/global"),
        (b"W U H", 17, "message/global-headers"),
    ],
)
def test_ret_decides_how_much_of_the_original_returns(dsn: bytes, size: int, kind: str) -> None:
    _, _, _, original = read(compose(returned(FAILED, dsn=dsn, size=size), POSTMASTER, b"now", b"=_b"))
    assert original.get_content_type() == kind


def test_an_orcpt_from_an_untrusted_source_is_sanitized() -> None:
    _, _, (_, joe), _ = read(compose(returned(FAILED, dsn=b"W E:id"), POSTMASTER, b"now", b"=_b"))
    assert joe["Original-Recipient"] is None


def test_a_non_ascii_sender_without_smtputf8_gets_the_ordinary_report() -> None:
    it = returned(FAILED, dsn=b"W U", sender="jürgen@b.org".encode())
    bounce = compose(it, POSTMASTER, b"now", b"=_b")
    assert bounce is not None
    assert b"multipart/report" not in b"".join(bounce.pieces)
    assert bounce.envelope.dsn == b"W U"
    ascii_sender = compose(returned(FAILED, dsn=b"W U"), POSTMASTER, b"now", b"=_b")
    assert ascii_sender is not None and not ascii_sender.envelope.dsn


def test_a_delay_report_repeats_envid_and_orcpt() -> None:
    block = failure_block(b"jim@x.org", b"not delivered yet\n", b"rfc822;jim@x.org")
    _, _, (about, jim), _ = read(delay_warning(returned(block), POSTMASTER, b"now", b"=_b"))
    assert (about["Original-Envelope-Id"], jim["Original-Recipient"]) == ("id=1", "rfc822; jim@x.org")
    assert (jim["Action"], jim["Status"]) == ("delayed", "4.0.0")


def test_non_ascii_names_are_escaped() -> None:
    name = "utf-8;jürgen@x.org".encode()
    it = returned(failure_block("jürgen@x.org".encode(), b"no (#5.1.1)\n", name), dsn=b"W U r0::" + name)
    _, _, (_, joe), _ = read(compose(it, POSTMASTER, b"now", b"=_b"))
    assert joe["Original-Recipient"] == joe["Final-Recipient"] == "utf-8; j\\x{FC}rgen@x.org"
