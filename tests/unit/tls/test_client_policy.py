"""To whom TLS is spoken, and whose certificate is whose."""

import pytest

from eqmail_core.tls.client_policy import ClientTlsFiles, TlsPolicy, name_rejection_reason, tls_policy

FILES = ClientTlsFiles(b"control/tlshosts", b"control/notlshosts", b"control/tlshosts/exhaustivelist")


def chosen(policy: TlsPolicy) -> tuple[bool, bytes, bool]:
    return policy.is_wanted, policy.demanded_by, policy.is_implicit


@pytest.mark.parametrize(
    ("files", "is_implicit", "expected"),
    [
        ([], False, (True, b"", False)),
        (["tlshosts/mx.test.pem", "notlshosts/mx.test"], False, (True, b"control/tlshosts/mx.test.pem", False)),
        (["tlshosts/mx.test.pem"], True, (True, b"control/tlshosts/mx.test.pem", True)),
        (["notlshosts/mx.test"], False, (False, b"", False)),
        (["notlshosts/mx.test", "tlshosts/exhaustivelist"], True, (True, b"", True)),
        (["tlshosts/exhaustivelist"], False, (False, b"", False)),
        (["tlshosts/exhaustivelist", "tlshosts/mx.test.pem"], False, (True, b"control/tlshosts/mx.test.pem", False)),
        (["tlshosts/other.test.pem", "notlshosts/other.test"], False, (True, b"", False)),
    ],
)
def test_the_control_files_decide_the_policy(
    files: list[str], is_implicit: bool, expected: tuple[bool, bytes, bool]
) -> None:
    there = {b"control/" + name.encode() for name in files}
    for host in (b"mx.test", b"MX.Test."):
        assert chosen(tls_policy(host, is_implicit, FILES, there.__contains__)) == expected


@pytest.mark.parametrize("host", [b"", b".", b"..", b"a/../../me", b"a\0b", b"x" * 251])
def test_no_host_name_escapes_the_folder_or_makes_an_invalid_file_name(host: bytes) -> None:
    asked: list[bytes] = []

    def exists(path: bytes) -> bool:
        asked.append(path)
        return False

    tls_policy(host, False, FILES, exists)
    assert asked == [FILES.only_listed]


@pytest.mark.parametrize(
    ("alternatives", "common_name", "objection"),
    [
        (["other.test", "MX.example.TEST"], None, b""),
        (["*.Example.test"], None, b""),
        (["*.test"], "mx.example.test", b"certificate contains no matching dNSNnames"),
        (["mx.*.test", "*", "*."], None, b"certificate contains no matching dNSNnames"),
        ([], "mx.example.test", b""),
        ([], "*.example.test", b""),
        ([], "example.test", b"received certificate for example.test"),
        ([], "a b\n\u00e9", b"received certificate for a?b???"),
        ([], None, b"certificate contains no valid commonName"),
    ],
)
def test_a_certificate_has_the_name_or_stands_for_its_domain(
    alternatives: list[str], common_name: str | None, objection: bytes
) -> None:
    assert name_rejection_reason(b"mx.Example.test.", alternatives, common_name) == objection


def test_a_name_without_a_domain_is_covered_by_no_pattern() -> None:
    assert name_rejection_reason(b"localhost", ["*."], None) != b""
