"""Reports of others are read whatever they are packed in, and what is no report costs little."""

import email.message
import gzip
import io
import tracemalloc
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_setup.mail import received_reports
from eqmail_setup.mail.received_reports import UnreadableReport, read_reports

FORMER = b"""<?xml version="1.0" encoding="UTF-8" ?>
<feedback><report_metadata><org_name>big.test</org_name><report_id>7</report_id>
<date_range><begin>1700000000</begin><end>1700086399</end></date_range></report_metadata>
<policy_published><domain>a.test</domain><p>none</p><pct>100</pct></policy_published>
<record><row><source_ip>192.0.2.1</source_ip><count>12</count>
<policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
<identifiers><header_from>a.test</header_from></identifiers>
<auth_results><spf><domain>b.test</domain><result>pass</result></spf></auth_results></record></feedback>
"""
BOMB = b"""<?xml version="1.0"?><!DOCTYPE feedback [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
]><feedback>&b;</feedback>"""
OUTSIDE = (
    b"""<?xml version="1.0"?><!DOCTYPE feedback [<!ENTITY a SYSTEM "file:///etc/passwd">]><feedback>&a;</feedback>"""
)


def zipped(content: bytes, name: str = "r.xml") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def message(content: bytes, kind: str = "gzip") -> bytes:
    made = email.message.EmailMessage()
    made["From"] = "d@big.test"
    made.set_content("see the attachment")
    made.add_attachment(content, "application", kind, filename="r")
    return made.as_bytes()


def _name(value: object) -> str:
    """Name a case without its bytes: compressed ones have the time in them, and workers have to agree."""
    return value if isinstance(value, str) else "content"


@pytest.mark.parametrize(
    "content",
    [
        FORMER,
        b"\xef\xbb\xbf" + FORMER,
        gzip.compress(FORMER),
        zipped(FORMER),
        message(gzip.compress(FORMER)),
        message(zipped(FORMER), "zip"),
        message(FORMER, "xml"),
    ],
    ids=_name,
)
def test_reports_are_found(content: bytes) -> None:
    (found,) = read_reports(content)
    assert (found.reporter, found.domain, found.begin, found.end) == ("big.test", "a.test", "2023-11-14", "2023-11-15")
    assert found.rows[0][:5] == ("192.0.2.1", 12, "none", "pass", "fail")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (BOMB, "cannot be read"),
        (OUTSIDE, "cannot be read"),
        (FORMER[:-30], "cannot be read"),
        (b"<html></html>", "no report"),
        (b"", "no report"),
        (b"From: joe@a.test\n\nhello\n", "no report"),
        (gzip.compress(FORMER)[:-20], "cut off"),
        (gzip.compress(FORMER)[:40] + b"\xff" * 40, "unpacked"),
        (zipped(FORMER)[:60], "unpacked"),
        (zipped(FORMER, "r.txt"), "without XML"),
        (b"<feedback>" + b"<a>" * 100, "one another"),
        (b"<feedback><record>" + b"<a/>" * 20_000, "one another"),
        (b'<?xml version="1.0" encoding="nonsense"?><feedback/>', "cannot be read"),
    ],
    ids=_name,
)
def test_what_is_no_report_is_named(content: bytes, why: str) -> None:
    with pytest.raises(UnreadableReport, match=why):
        read_reports(content)


@pytest.mark.parametrize("pack", [gzip.compress, zipped])
def test_a_bomb_is_unpacked_up_to_the_bound(pack: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(pack)
    bomb = pack(b"<feedback>" + b" " * (64 << 20))
    monkeypatch.setattr(received_reports, "MAX_XML", 1 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableReport, match="when unpacked"):
            read_reports(bomb)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received_reports, "MAX_ROWS", 10)
    start, end = FORMER.index(b"<record>"), FORMER.index(b"</feedback>")
    with pytest.raises(UnreadableReport, match="more than 10 rows"):
        read_reports(FORMER[:end] + FORMER[start:end] * 10 + b"</feedback>")


@given(st.binary(max_size=300), st.sampled_from([b"", b"<", b"PK\x03\x04", b"\x1f\x8b", b"<feedback><record>"]))
def test_any_bytes_are_a_report_or_a_named_problem(content: bytes, start: bytes) -> None:
    with pytest.raises(UnreadableReport):
        read_reports(start + content)
