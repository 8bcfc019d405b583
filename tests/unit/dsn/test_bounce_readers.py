"""What a mailing-list manager's reader of bounces makes of ours."""

from email import message_from_bytes

import pytest
from flufl.bounce import all_failures

from eqmail_core.dsn.notification import BounceConfig, Notification, ReportedMessage, compose, delay_warning
from eqmail_core.dsn.qsbmf import failure_block

BLOCKS = (
    failure_block(
        b"joe@x.org", b"10.0.0.1 does not like recipient.\nRemote host said: 550 no\nGiving up on 10.0.0.1.\n"
    ),
    failure_block(b"jim@x.org", b"Sorry, no mailbox here by that name. (#5.1.1)\n"),
)
IT = ReportedMessage(
    b"list@y.org", b"2 Nov 2026 20:31:41 +0000", 22, lambda: BLOCKS, lambda: [b"Subject: x\n\nto a@b.org\n"]
)


def read_by(bounce: Notification | None) -> tuple[set[bytes], set[bytes]]:
    """Addresses that the reader takes as temporary and permanent failures."""
    assert bounce is not None
    temporary, permanent = all_failures(message_from_bytes(b"".join(bounce.pieces)))
    return set(temporary), set(permanent)


@pytest.mark.parametrize("is_dsn", [False, True])
def test_failures_are_recognised(is_dsn: bool) -> None:
    postmaster = BounceConfig(b"MAILER-DAEMON", b"me.org", b"postmaster@me.org", is_dsn)
    assert read_by(compose(IT, postmaster, b"2 Nov 2026 20:31:41 +0000", b"=_b")) == (
        set(),
        {b"joe@x.org", b"jim@x.org"},
    )


def test_delays_are_not_taken_for_failures() -> None:
    postmaster = BounceConfig(b"MAILER-DAEMON", b"me.org", b"postmaster@me.org")
    _, permanent = read_by(delay_warning(IT, postmaster, b"2 Nov 2026 20:31:41 +0000", b"=_b"))
    assert permanent == set()
