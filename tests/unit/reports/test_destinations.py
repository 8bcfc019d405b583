"""Who gets a report: addresses of the domain itself, and foreign ones that agree to it in the DNS."""

import pytest

from eqmail_core.reports.destinations import Destination, find_destinations, mail_address
from tests.support.mail_auth_harness import run, silent, texts

RECORDS = {
    b"_dmarc.a.test": b"v=DMARC1; p=none",
    b"_dmarc.sub.a.test": b"v=DMARC1; p=none",
    b"a.test._report._dmarc.yes.test": b"v=DMARC1;",
    b"a.test._report._dmarc.moved.test": b"v=DMARC1; rua=mailto:new@moved.test,mailto:no@victim.test",
    b"a.test._report._dmarc.stolen.test": b"v=DMARC1; rua=mailto:no@victim.test",
}


def destinations(*uris: str) -> list[Destination]:
    return run(find_destinations("a.test", uris), texts(RECORDS))


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mailto:d@a.test", ("d@a.test", 0)),
        ("MAILTO:d@a.test!10m", ("d@a.test", 10 << 20)),
        ("mailto:d%2Bx@a.test?subject=x", ("d+x@a.test", 0)),
        ("https://a.test/", None),
        ("mailto:", None),
        ("mailto:a@b.test%0aTo:x@y.test", None),
        ("mailto:%22a%20b%22@a.test", None),
        ("mailto:" + "x" * 65 + "@a.test", None),
    ],
)
def test_addresses_of_uris(uri: str, expected: tuple[str, int] | None) -> None:
    assert mail_address(uri) == expected


def test_own_addresses_need_no_record() -> None:
    assert destinations("mailto:d@a.test", "mailto:d@sub.a.test") == [
        Destination("d@a.test", 0, ""),
        Destination("d@sub.a.test", 0, ""),
    ]


def test_foreign_addresses_need_one_and_may_name_another_of_their_host() -> None:
    found = destinations("mailto:d@yes.test", "mailto:d@no.test", "mailto:d@moved.test", "mailto:d@stolen.test!1k")
    assert [(it.address, bool(it.problem)) for it in found] == [
        ("d@yes.test", False),
        ("d@no.test", True),
        ("new@moved.test", False),
        ("d@stolen.test", False),
    ]
    assert found[3].limit_bytes == 1024


def test_at_most_four_get_it_and_each_once() -> None:
    assert len(destinations(*(f"mailto:{number}@a.test" for number in range(9)))) == 4
    assert len(destinations("mailto:d@a.test", "mailto:d@a.test")) == 1


def test_without_an_answer_nobody_else_gets_it() -> None:
    (found,) = run(find_destinations("a.test", ["mailto:d@yes.test"]), silent)
    assert "does not say" in found.problem
