"""Reports of DMARC: messages become rows, identical ones are counted together, and the XML says what was found."""

import gzip
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from eqmail_core.mail_auth.message_check import CheckedMessage, MessageCheck, MessageSource
from eqmail_core.reports.dmarc_rows import report_row
from eqmail_core.reports.dmarc_xml import report_xml
from eqmail_setup.mail.received_reports import read_reports
from tests.support.mail_auth_harness import NOW, published, run, signed, split, texts

SCHEMA = Path(__file__).parents[2] / "data/mail_auth/dmarc-report.xsd"
MESSAGE = b"From: Joe <joe@a.test>\nSubject: hello\n\nbody\n"
SOURCE = MessageSource(b"192.0.2.1", b"mx.a.test", b"Joe@A.test", b"here.test")
RECORDS: dict[bytes, bytes] = {
    **published(),
    b"a.test": b"v=spf1 ip4:192.0.2.0/24 -all",
    b"_dmarc.a.test": b"v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@a.test,mailto:x@other.test!10m,https://a.test/",
}


def checked(
    message: bytes = MESSAGE, source: MessageSource = SOURCE, records: Mapping[bytes, bytes] = RECORDS
) -> CheckedMessage:
    fields, body = split(message)
    check = MessageCheck(source, fields, NOW)
    check.feed(body)
    return run(check.search(), texts(records))


def row_of(found: CheckedMessage, source: MessageSource = SOURCE, enforced: bool = True) -> tuple[dict, dict]:  # type: ignore[type-arg]
    made = report_row(found, source, enforced, "treewalk")
    assert made is not None and made[0] == "a.test"
    return json.loads(made[1]), json.loads(made[2])


def test_a_message_that_passes_is_a_row_with_all_its_results() -> None:
    policy, row = row_of(checked(signed(MESSAGE)))
    assert policy == {
        "domain": "a.test",
        "discovery_method": "treewalk",
        "adkim": "r",
        "aspf": "r",
        "p": "reject",
        "sp": "quarantine",
        "testing": "n",
        "rua": ["mailto:d@a.test", "mailto:x@other.test!10m"],
    }
    assert row["disposition"] == "pass" and row["dkim"] == row["spf"] == "pass"
    assert [it["selector"] for it in row["signatures"]] == ["r", "e"]
    assert row["envelope_from"] == row["header_from"] == "a.test"


def test_only_the_aligned_identifier_passes() -> None:
    outsider = MessageSource(b"198.51.100.7", b"mx.a.test", b"joe@a.test", b"here.test")
    _, row = row_of(checked(signed(MESSAGE), outsider), outsider)
    assert (row["dkim"], row["spf"]) == ("pass", "fail")
    _, row = row_of(checked(MESSAGE))
    assert (row["dkim"], row["spf"]) == ("fail", "pass")


def test_a_policy_that_is_not_applied_has_a_reason() -> None:
    outsider = MessageSource(b"198.51.100.7", b"mx.a.test", b"joe@a.test", b"here.test")
    found = checked(MESSAGE, outsider)
    assert row_of(found, outsider)[1]["disposition"] == "reject"
    _, row = row_of(found, outsider, enforced=False)
    assert row["disposition"] == "none" and row["reason"][0] == "local_policy"


@pytest.mark.parametrize("record", [b"v=DMARC1; p=none", b"v=DMARC1; p=none; rua=https://a.test/", b"v=spf1 -all"])
def test_nothing_is_counted_for_domains_that_want_no_mail_about_it(record: bytes) -> None:
    found = checked(records={**RECORDS, b"_dmarc.a.test": record})
    assert report_row(found, SOURCE, True, "treewalk") is None


def test_a_silent_name_server_is_not_reported() -> None:
    fields, _ = split(MESSAGE)
    from tests.support.mail_auth_harness import silent

    assert report_row(run(MessageCheck(SOURCE, fields, NOW).search(), silent), SOURCE, True, "treewalk") is None


def report() -> bytes:
    outsider = MessageSource(b"2001:db8::7", b"mx.a.test", b"", b"here.test")
    rows = [
        (made[2], count)
        for found, source, count in ((checked(signed(MESSAGE)), SOURCE, 5), (checked(MESSAGE, outsider), outsider, 2))
        if (made := report_row(found, source, False, "treewalk"))
    ]
    made = report_row(checked(), SOURCE, False, "treewalk")
    assert made is not None and len(rows) == 2
    return b"".join(report_xml("here.test", "d@here.test", "1.a", 86400, 172799, made[1], rows))


def test_the_xml_is_valid(tmp_path: Path) -> None:
    assert shutil.which("xmllint"), "libxml2-utils is missing"
    (tmp_path / "report.xml").write_bytes(report())
    command = ["xmllint", "--noout", "--nonet", "--schema", str(SCHEMA), str(tmp_path / "report.xml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_composed_is_read() -> None:
    (found,) = read_reports(gzip.compress(report()))
    assert (found.reporter, found.domain, found.begin, found.policy) == ("here.test", "a.test", "1970-01-02", "reject")
    assert [(it.ip, it.messages, it.disposition, it.dkim, it.spf) for it in found.rows] == [
        ("192.0.2.1", 5, "pass", "pass", "pass"),
        ("2001:db8::7", 2, "none", "fail", "fail"),
    ]


def test_texts_of_others_cannot_break_the_xml() -> None:
    hostile = "</domain><x>&\x00\ud800" + "y" * 5000
    row = {
        "ip": "no address",
        "disposition": "none",
        "dkim": "fail",
        "spf": "fail",
        "header_from": hostile,
        "envelope_from": hostile,
        "signatures": [{"domain": hostile, "selector": hostile, "result": "fail"}],
        "spf_result": {"domain": hostile, "scope": "mfrom", "result": "none"},
    }
    policy = json.dumps({"domain": hostile, "p": "none"})
    text = b"".join(report_xml("here.test", "d@here.test", "1", 0, 1, policy, [(json.dumps(row), 1)]))
    assert len(text) < 5000
    assert read_reports(text)[0].rows[0].ip == "::"
