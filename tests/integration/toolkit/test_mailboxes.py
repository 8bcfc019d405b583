"""Mailboxes of any domain: one transaction over all files, and mail is delivered to them by the code that delivers."""

import os
from pathlib import Path

import pytest

from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.build_config import load_site
from eqmail_setup.mail.mailboxes import (
    Mailbox,
    find_mailbox,
    list_mailboxes,
    parse_address,
    plan_add,
    plan_forward,
    plan_quota,
    plan_remove,
)
from eqmail_setup.mail.routing import route_address
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.plan import Change, apply_changes

ANN = parse_address("Ann@Example.NET")
SECRET = b"$6$salt$hash"


@pytest.fixture
def site(at_home: str) -> Site:
    found = load_site(at_home)
    assert found is not None
    return found


def apply(site: Site, changes: list[Change]) -> int:
    return apply_changes(changes, DiskFilesystem(site.home), lambda operation: None)


def add(site: Site, address: str, secret: bytes = b"", quota: int = 0) -> int:
    ids = os.getuid(), os.getgid()
    return apply(site, plan_add(site, DiskFilesystem(site.home), parse_address(address), ids, secret, quota))


def boxes(site: Site) -> dict[str, Mailbox]:
    return {str(box.address): box for box in list_mailboxes(site, DiskFilesystem(site.home))}


def delivery(site: Site, address: str) -> tuple[str, str]:
    """The Maildir that mail for an address goes to, or what is wrong."""
    found = route_address(site, address.encode())
    folders = [argument for kind, argument in found.instructions if kind == "maildir"]
    home = os.fsdecode(found.user.home) if found.user else ""
    return (os.path.normpath(os.path.join(home, folders[0])) if folders else "", found.failure)


def test_a_new_domain_and_its_mailbox_in_one_go(site: Site) -> None:
    assert add(site, "ann@example.net", SECRET, 5 << 30)
    box = boxes(site)["ann@example.net"]
    assert box.maildir == f"{site.users}/example.net/ann/Maildir" or box.maildir.endswith("/ann/.Maildir")
    assert (box.quota_bytes, box.has_login, box.keeps) == (5 << 30, True, True)
    assert "example.net" in Path(site.control, "rcpthosts").read_text().split()
    assert delivery(site, "ann@example.net") == (box.maildir, "")
    assert sorted(os.listdir(box.maildir)) == ["cur", "maildirsize", "new", "tmp"]
    assert add(site, "ann@example.net", SECRET, 5 << 30) == 0


def test_other_addresses_of_the_domain_are_refused_until_its_folder_accepts_them(site: Site) -> None:
    add(site, "ann@example.net")
    assert delivery(site, "bob@example.net")[1].endswith("(#5.1.1)")
    Path(site.users, "example.net/.qmail-default").write_text("./catch-all/\n")
    assert delivery(site, "bob@example.net")[0] == f"{site.users}/example.net/catch-all"


@pytest.mark.parametrize("delimiter", ["+", "-"])
def test_the_delimiter_of_the_installation_does_not_matter(site: Site, delimiter: str) -> None:
    site.break_char = delimiter.encode()
    add(site, "ann@example.net")
    assert delivery(site, "ann@example.net")[1] == ""


def test_a_mailbox_of_a_local_domain(site: Site) -> None:
    add(site, "foo@mail.example.org")
    assert list(boxes(site)) == ["foo@mail.example.org"]
    assert delivery(site, "foo@mail.example.org")[0] == boxes(site)["foo@mail.example.org"].maildir


def test_two_domains_do_not_share_a_local_part(site: Site) -> None:
    add(site, "ann@example.net")
    add(site, "ann@example.com")
    add(site, "ann@mail.example.org")
    found = boxes(site)
    assert len({box.maildir for box in found.values()}) == 3
    for address, box in found.items():
        assert delivery(site, address) == (box.maildir, "")


def test_a_domain_of_another_user_keeps_its_owner(site: Site) -> None:
    Path(site.control, "virtualdomains").write_text("v.example:joe\n")
    add(site, "ann@v.example")
    assert Path(site.control, "virtualdomains").read_text() == "v.example:joe\n"
    assert "=joe-ann:" in Path(site.users, "assign").read_text()
    assert delivery(site, "ann@v.example")[0] == boxes(site)["ann@v.example"].maildir


def test_what_exists_is_not_taken_over(site: Site) -> None:
    Path(site.users, "assign").write_text("=example.net-ann:joe:1:1:/home/joe:::\n.\n")
    with pytest.raises(EqmailError, match=r"example\.net-ann:joe"):
        add(site, "ann@example.net")


def test_removing_keeps_the_mail_by_default(site: Site) -> None:
    add(site, "ann@example.net", SECRET)
    add(site, "bob@example.net", SECRET)
    for address, discards in (("ann@example.net", False), ("bob@example.net", True)):
        home = boxes(site)[address].entry.home
        apply(site, plan_remove(site, DiskFilesystem(site.home), parse_address(address), discards))
        assert os.path.exists(home) is not discards
        assert delivery(site, address)[1].endswith("(#5.1.1)")
    assert boxes(site) == {}
    assert b":" not in b"".join(
        line for line in Path(site.users, "smtpauth").read_bytes().splitlines() if not line.startswith(b"#")
    )


def test_a_quota_counts_the_mail_that_is_there(site: Site) -> None:
    add(site, "ann@example.net")
    box = boxes(site)["ann@example.net"]
    Path(box.maildir, "new/1").write_bytes(b"x" * 1000)
    apply(site, plan_quota(site, DiskFilesystem(site.home), ANN, 5000))
    assert Path(box.maildir, "maildirsize").read_bytes() == b"5000S\n1000 1\n"
    assert boxes(site)["ann@example.net"].used_bytes == 1000
    apply(site, plan_quota(site, DiskFilesystem(site.home), ANN, 0))
    assert not Path(box.maildir, "maildirsize").exists()


def test_forwarding_with_and_without_keeping(site: Site) -> None:
    add(site, "ann@example.net")
    filesystem = DiskFilesystem(site.home)
    home = boxes(site)["ann@example.net"].entry.home
    apply(site, plan_forward(site, filesystem, ANN, ["a@b.example"], True))
    assert Path(home, ".qmail").read_text().splitlines()[0] == "&a@b.example"
    assert find_mailbox(site, filesystem, ANN).keeps and delivery(site, "ann@example.net")[0]
    apply(site, plan_forward(site, filesystem, ANN, ["a@b.example"], False))
    assert Path(home, ".qmail").read_text() == "&a@b.example\n"
    assert not find_mailbox(site, filesystem, ANN).keeps
    apply(site, plan_forward(site, filesystem, ANN, [], False))
    assert delivery(site, "ann@example.net")[0] == boxes(site)["ann@example.net"].maildir


def test_programs_in_a_qmail_file_are_not_overwritten(site: Site) -> None:
    add(site, "ann@example.net")
    home = boxes(site)["ann@example.net"].entry.home
    Path(home, ".qmail").write_text("|spamfilter\n./Maildir/\n")
    with pytest.raises(EqmailError, match="has other instructions"):
        plan_forward(site, DiskFilesystem(site.home), ANN, ["a@b.example"], True)


@pytest.mark.parametrize("address", ["ann", "@example.net", "a/b@example.net", "..@example.net", "a:b@example.net"])
def test_what_cannot_be_a_mailbox_is_refused(address: str) -> None:
    with pytest.raises(EqmailError) as error:
        parse_address(address)
    assert error.value.code == 2


@pytest.mark.parametrize("target", ["bob", "a b@c.example", "<a@b.example>", "ann@example.net"])
def test_forwarding_to_no_address_or_to_itself_is_refused(site: Site, target: str) -> None:
    add(site, "ann@example.net")
    with pytest.raises(EqmailError):
        plan_forward(site, DiskFilesystem(site.home), ANN, [target], False)


def test_a_mailbox_that_is_not_there_is_named(site: Site) -> None:
    with pytest.raises(EqmailError, match=r"ann@example\.net: no such mailbox"):
        find_mailbox(site, DiskFilesystem(site.home), ANN)
