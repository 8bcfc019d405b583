"""The line that the queue puts before every message."""

import pytest

from eqmail_core.mail.received import invoked_line, invoker_name


@pytest.mark.parametrize(
    ("uid", "how"), [(1, b"by alias"), (2, b"from network"), (3, b"for bounce"), (4, b"by uid 4"), (0, b"by uid 0")]
)
def test_it_names_the_invoking_account(uid: int, how: bytes) -> None:
    assert invoker_name(uid, 1, 2, 3) == how
    assert invoked_line(77, how, b"DATE") == b"Received: (qmail 77 invoked " + how + b"); DATE\n"


def test_the_alias_account_is_checked_first() -> None:
    assert invoker_name(1, 1, 1, 1) == b"by alias"
