"""Who is told about failures."""

from eqmail_core.policy.bounces import Postmaster, compose
from eqmail_core.values.address import DOUBLE_BOUNCE

POSTMASTER = Postmaster(b"MAILER-DAEMON", b"me.org", b"postmaster@me.org")


def test_a_sender_gets_a_bounce_from_nobody() -> None:
    bounce = compose(b"a@b", POSTMASTER, b"now")
    assert bounce is not None
    assert (bounce.sender, bounce.recipient) == (b"", b"a@b")


def test_a_verp_sender_gets_one_bounce_at_its_base_address() -> None:
    bounce = compose(b"list-@example.org-@[]", POSTMASTER, b"now")
    assert bounce is not None
    assert bounce.recipient == b"list-@example.org"
    assert b"Return-Path: <list-@example.org>\n" in bounce.middle


def test_a_failed_bounce_goes_to_the_postmaster() -> None:
    bounce = compose(b"", POSTMASTER, b"now")
    assert bounce is not None
    assert (bounce.sender, bounce.recipient) == (DOUBLE_BOUNCE, b"postmaster@me.org")


def test_nobody_is_told_about_a_failed_double_bounce() -> None:
    assert compose(DOUBLE_BOUNCE, POSTMASTER, b"now") is None
