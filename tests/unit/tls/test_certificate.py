"""The description of certificates."""

from datetime import UTC, datetime, timedelta

import pytest
import trustme

from eqmail_core.tls.certificate import validity


@pytest.mark.parametrize(("days", "says_expired"), [(30, False), (-1, True)])
def test_the_expiry_of_a_certificate_is_reported(days: int, says_expired: bool) -> None:
    end = datetime.now(UTC) + timedelta(days=days)
    issued = trustme.CA().issue_cert("mail.example.org", not_after=end, not_before=end - timedelta(days=9))
    text = validity(issued.private_key_and_cert_chain_pem.bytes())
    assert f"valid until {end:%b} {end.day:2} " in text
    assert text.endswith("(expired)") == says_expired


@pytest.mark.parametrize(
    "text", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_an_unusable_file_is_reported(text: bytes) -> None:
    assert validity(text) == "holds no certificate that can be read"
