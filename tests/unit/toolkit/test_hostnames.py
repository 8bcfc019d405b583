"""Host names: the domains derived from one, and invalid names."""

import pytest

from eqmail_setup.errors import EqmailError, ExitCode
from eqmail_setup.network.hostnames import domains_of, require_host_name


@pytest.mark.parametrize(
    ("name", "domain", "plus"),
    [
        ("mail.example.org", "example.org", "example.org"),
        ("a.b.example.org", "b.example.org", "example.org"),
        ("example.org", "example.org", "example.org"),
        ("box", "box", "box"),
    ],
)
def test_the_domains_follow_from_the_name(name: str, domain: str, plus: str) -> None:
    assert domains_of(name) == (domain, plus)


@pytest.mark.parametrize("name", ["mail.example.org", "MAIL.Example.ORG", "xn--bcher-kva.example", "a-b.c-d.example"])
def test_full_names_are_taken(name: str) -> None:
    require_host_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "box",
        "mail.example.org.",
        "1.2.3.4",
        "",
        ".example.org",
        "a..b",
        "-a.example",
        "bücher.example",
        "a b.example",
        "a.example\n",
        f"{'a' * 64}.example",
        ".".join(["abcdefgh"] * 40),
        "joe@example.org",
    ],
)
def test_other_names_are_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(EqmailError) as refused:
        require_host_name(name)
    assert refused.value.code == ExitCode.USAGE
