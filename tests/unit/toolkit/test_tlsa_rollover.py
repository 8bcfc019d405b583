"""A new key waits until the DNS has its record."""

from pathlib import Path

import pytest

from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError
from eqmail_setup.mail.certificates import ECDSA, new_key, tlsa_of
from eqmail_setup.mail.tlsa_rollover import next_key


def test_a_key_that_waited_is_used_once(tmp_path: Path) -> None:
    """The key made for the next certificate is not taken again once a certificate has it."""
    site, old = Site(str(tmp_path)), new_key(ECDSA)
    published = [f"3 1 1 {tlsa_of(old)}"]

    def query(name: str, kind: str) -> list[str]:
        return published

    with pytest.raises(EqmailError, match="not published yet"):
        next_key(site, "mx.example.org", ECDSA, tlsa_of(old), query, False)
    waiting = next_key(site, "mx.example.org", ECDSA, "", query, True)
    published.append(f"3 1 1 {tlsa_of(waiting)}")
    assert tlsa_of(next_key(site, "mx.example.org", ECDSA, tlsa_of(old), query, False)) == tlsa_of(waiting)
    with pytest.raises(EqmailError, match="not published yet") as refused:
        next_key(site, "mx.example.org", ECDSA, tlsa_of(waiting), query, False)
    assert tlsa_of(waiting) not in str(refused.value)
