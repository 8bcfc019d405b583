"""config-fast: the domains that follow from a name, and what an administrator wrote stays."""

from pathlib import Path

import pytest

from eqmail_core.values.layout import EQMAIL_111
from eqmail_core.values.site import Site
from eqmail_setup.commands.config_fast import demand_host_name
from eqmail_setup.first_settings import domains_of, write_first_settings
from eqmail_setup.refusal import USAGE, Refusal


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


def test_a_second_run_keeps_what_was_changed_and_renews_the_name(tmp_path: Path) -> None:
    site, said = Site(home=str(tmp_path), single_user=True), []
    write_first_settings(site, "mail.example.org", said.append)
    (tmp_path / "control/locals").write_text("mine\n")
    said.clear()
    write_first_settings(site, "new.example.net", said.append)
    assert (tmp_path / "control/me").read_text() == "new.example.net\n"
    assert (tmp_path / "control/locals").read_text() == "mine\n"
    assert [line for line in said if line.startswith(("Putting", "Creating"))] == [
        "Putting new.example.net into control/me...",
        "Putting example.net into control/defaultdomain...",
    ]


def test_the_other_layout_has_its_own_folder(tmp_path: Path) -> None:
    said: list[str] = []
    write_first_settings(Site(home=str(tmp_path), layout=EQMAIL_111, single_user=True), "m.example.org", said.append)
    assert (tmp_path / "etc/me").read_text() == "m.example.org\n"
    assert "Putting m.example.org into etc/me..." in said


def test_saying_only_writes_nothing(tmp_path: Path) -> None:
    write_first_settings(Site(home=str(tmp_path)), "mail.example.org", lambda line: None, only_say=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mail.example.org", "MAIL.Example.ORG", "xn--bcher-kva.example", "a-b.c-d.example"])
def test_full_names_are_taken(name: str) -> None:
    demand_host_name(name)


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
    with pytest.raises(Refusal) as refused:
        demand_host_name(name)
    assert refused.value.code == USAGE
