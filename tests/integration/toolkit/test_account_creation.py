"""Which accounts are created, in which groups, with which numbers; what exists is kept or refused, never changed."""

import subprocess
from pathlib import Path

import pytest

from eqmail_core.site.accounts import Accounts
from eqmail_core.site.site import Site
from eqmail_setup.cli.app import run
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation import account_creation as accounts
from eqmail_setup.installation.account_creation import ACCOUNT_TOOLS, AccountDatabase, missing_commands

SHADOW, PW, BUSYBOX = ACCOUNT_TOOLS
EMPTY = AccountDatabase({"root": 0}, {"root": (0, 0)})


def commands(database: AccountDatabase = EMPTY, site: Site | None = None, tool: object = SHADOW) -> list[str]:
    found = missing_commands(site or Site(), database, tool, "/sbin/nologin")  # type: ignore[arg-type]
    return [" ".join(words) for words in found]


def test_users_get_the_groups_that_the_documentation_gives_them() -> None:
    groups = {words.split()[-1]: words.split()[5] for words in commands() if words.startswith("useradd")}
    assert groups == {
        **dict.fromkeys(("alias", "qmaild", "qmaill", "qmailp"), "nofiles"),
        **dict.fromkeys(("qmailq", "qmailr", "qmails"), "qmail"),
    }


def test_groups_come_first_and_numbers_are_the_first_free_ones() -> None:
    database = AccountDatabase({"root": 0, "others": 200}, {"root": (0, 0), "other": (201, 200)})
    made = commands(database)
    assert made[:2] == ["groupadd -g 201 qmail", "groupadd -g 202 nofiles"]
    assert [words.split()[3] for words in made[2:]] == ["200", "202", "203", "204", "205", "206", "207"]


def test_alias_lives_in_the_alias_folder_and_the_rest_in_the_home() -> None:
    made = commands(site=Site(home="/srv/mail"))
    assert "-d /srv/mail/alias " in next(words for words in made if words.endswith(" alias"))
    assert "-d /srv/mail " in next(words for words in made if words.endswith(" qmailq"))


def test_matching_accounts_are_kept() -> None:
    users = {"root": (0, 0), "alias": (900, 61), "qmaild": (901, 61), "qmaill": (902, 61), "qmailp": (903, 61)}
    users |= {"qmailq": (904, 60), "qmailr": (905, 60), "qmails": (906, 60)}
    assert commands(AccountDatabase({"qmail": 60, "nofiles": 61}, users)) == []


def test_a_user_in_the_wrong_group_is_refused_with_the_remedy() -> None:
    database = AccountDatabase({"qmail": 60, "nofiles": 61}, {"root": (0, 0), "qmailq": (904, 61)})
    with pytest.raises(
        EqmailError, match="qmailq exists with the group nofiles, should be qmail: usermod -g qmail qmailq"
    ):
        commands(database)


def test_an_owner_that_does_not_exist_is_refused() -> None:
    users = ("alias", "qmaild", "qmaill", "boss", "qmailp", "qmailq", "qmailr", "qmails")
    with pytest.raises(EqmailError, match="boss"):
        commands(site=Site(accounts=Accounts(users)))


@pytest.mark.parametrize(
    ("tool", "group", "user"),
    [
        (PW, "pw groupadd -n qmail -g 200", "pw useradd -n qmailq -u 204 -g qmail -d /var/qmail -s /sbin/nologin -c "),
        (BUSYBOX, "addgroup -g 200 qmail", "adduser -D -H -u 204 -G qmail -h /var/qmail -s /sbin/nologin qmailq"),
    ],
)
def test_other_systems_get_their_own_commands(tool: object, group: str, user: str) -> None:
    made = commands(tool=tool)
    assert group in made
    assert user in made


@pytest.mark.root
def test_a_package_gets_a_file_from_which_the_accounts_are_made(tmp_path: Path) -> None:
    """systemd-sysusers takes it, and makes the groups and users with the documented groups."""
    stage = tmp_path / "stage"
    for _ in range(2):
        assert run(["--home", "/var/mail-home", "mkusers", "--root", str(stage)]) == 0
    assert "0644 root root /usr/lib/sysusers.d/eqmail.conf\n" in (stage / "eqmail.manifest").read_text()
    (stage / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={stage}"], check=True)
    groups = {line.split(":")[0]: line.split(":")[2] for line in (stage / "etc/group").read_text().split()}
    users = {line.split(":")[0]: line.split(":") for line in (stage / "etc/passwd").read_text().split("\n")[:-1]}
    for name in ("qmailq", "qmailr", "qmails"):
        assert users[name][3] == groups["qmail"]
    for name in ("alias", "qmaild", "qmaill", "qmailp"):
        assert users[name][3] == groups["nofiles"]
    assert users["alias"][5] == "/var/mail-home/alias"


def test_the_tools_of_root_are_found_from_an_ordinary_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "pw"
    tool.write_text("#!/bin/sh\nexit 0\n")
    tool.chmod(0o755)
    monkeypatch.setattr(accounts, "_FOLDERS_OF_ROOT", (str(tmp_path),))
    monkeypatch.setenv("PATH", "/nowhere")
    assert accounts.find_account_tool() is PW
    accounts.create(("pw",))
