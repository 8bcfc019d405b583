"""The groups and users that the services run as: what exists, what is missing, and the commands that create it.

The mapping of users to groups is the documented one: the network, the log, the look-up and the aliases are in the
second group, what works in the queue is in the first.

Fails: Refusal where no tool for accounts is found, or where an existing account belongs to another group.
Source: control-files.md 2.7; programs.md "Primary group of the accounts".
"""

import grp
import os
import pwd
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable
from typing import NamedTuple

from eqmail_core.site.accounts import Accounts
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError

FIRST_ID = 200
_NO_LOGIN = ("/sbin/nologin", "/usr/sbin/nologin", "/bin/false")

Command = tuple[str, ...]


class NewUser(NamedTuple):
    """A user to create."""

    name: str
    uid: int
    group: str
    home: str
    shell: str


class AccountTool(NamedTuple):
    """How one system creates groups and users; the system is recognized by `program`."""

    program: str
    group: Callable[[str, int], Command]
    user: Callable[[NewUser], Command]


ACCOUNT_TOOLS = (
    AccountTool(
        "groupadd",
        lambda name, gid: ("groupadd", "-g", str(gid), name),
        lambda new: (
            *("useradd", "-M", "-u", str(new.uid), "-g", new.group),
            *("-d", new.home, "-s", new.shell, "-c", "", new.name),
        ),
    ),
    AccountTool(
        "pw",
        lambda name, gid: ("pw", "groupadd", "-n", name, "-g", str(gid)),
        lambda new: (
            *("pw", "useradd", "-n", new.name, "-u", str(new.uid), "-g", new.group),
            *("-d", new.home, "-s", new.shell, "-c", ""),
        ),
    ),
    AccountTool(
        "addgroup",
        lambda name, gid: ("addgroup", "-g", str(gid), name),
        lambda new: (
            *("adduser", "-D", "-H", "-u", str(new.uid), "-G", new.group),
            *("-h", new.home, "-s", new.shell, new.name),
        ),
    ),
)

_FOLDERS_OF_ROOT = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class AccountDatabase(NamedTuple):
    """The accounts of the system: names with their numbers and, for users, their primary group's number."""

    groups: dict[str, int]
    users: dict[str, tuple[int, int]]

    @classmethod
    def used_ids(cls) -> "AccountDatabase":
        """The accounts that exist now."""
        groups = {entry.gr_name: entry.gr_gid for entry in grp.getgrall()}
        users = {entry.pw_name: (entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall()}
        return cls(groups, users)


def find_account_tool() -> AccountTool:
    """The tool that is installed here."""
    for tool in ACCOUNT_TOOLS:
        if shutil.which(tool.program, path=_search_path()):
            return tool
    raise EqmailError(
        "found no groupadd, pw or addgroup; create the accounts by hand: eqmail mkusers --dry-run lists them"
    )


def nologin_shell() -> str:
    """A shell that permits no login."""
    return next((path for path in _NO_LOGIN if os.path.exists(path)), _NO_LOGIN[-1])


def missing_commands(site: Site, accounts_on_host: AccountDatabase, tool: AccountTool, shell: str) -> list[Command]:
    """The commands that create what is missing, groups first; nothing for what exists and fits.

    Fails: Refusal for an account that exists with another primary group.
    """
    commands: list[Command] = []
    accounts = site.accounts
    gids = dict(accounts_on_host.groups)
    for name in accounts.groups:
        if name not in gids:
            gids[name] = _next_free_id(gids.values())
            commands.append(tool.group(name, gids[name]))
    uids = {name: uid for name, (uid, _) in accounts_on_host.users.items()}
    for role, name in accounts.users.items():
        group = accounts.group(role)
        if role == "owner":
            _require_owner(name, uids)
        elif name in uids:
            _require_group(name, accounts_on_host, group, accounts)
        else:
            uids[name] = _next_free_id(uids.values())
            home = site.alias if role == "alias" else site.home
            commands.append(tool.user(NewUser(name, uids[name], group, home, shell)))
    return commands


def ids_of_account(name: str, home: str, creates: bool, on_command: Callable[[str], None]) -> tuple[int, int]:
    """User and group number of an account, which is created with a group of its own where it does not exist.

    `on_command` gets each command.  Unless `creates`, the numbers are those that it would get.
    Fails: EqmailError.
    """
    here = AccountDatabase.used_ids()
    if name in here.users:
        return here.users[name]
    tool = find_account_tool()
    gid = here.groups.get(name) or _next_free_id(here.groups.values())
    uid = _next_free_id(user for user, _ in here.users.values())
    commands = [tool.group(name, gid)] if name not in here.groups else []
    commands.append(tool.user(NewUser(name, uid, name, home, nologin_shell())))
    for command in commands:
        on_command(shlex.join(command))
        if creates:
            create(command)
    return uid, gid


def sysusers_lines(site: Site, shell: str) -> list[str]:
    """The accounts as lines for systemd-sysusers, groups first; the owner of the programs exists everywhere."""
    accounts = site.accounts
    lines = [f"g {name} -" for name in accounts.groups]
    for role, name in accounts.users.items():
        if role != "owner":
            home = site.alias if role == "alias" else site.home
            lines.append(f'u {name} -:{accounts.group(role)} "eQmail" {home} {shell}')
    return lines


def create(command: Command) -> None:
    """Run one of the commands.

    Fails: Refusal with its output.
    """
    environ = os.environ | {"PATH": _search_path()}
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, env=environ)
    if ended.returncode != 0:
        reason = ended.stderr.strip().splitlines()
        raise EqmailError(f"{shlex.join(command)}: {reason[-1] if reason else f'exit code {ended.returncode}'}")


def _search_path() -> str:
    """Where the tools are: the folders of root's programs are not on the path of every user."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), *_FOLDERS_OF_ROOT))


def _next_free_id(taken: Iterable[int]) -> int:
    """The first free number from 200 on."""
    numbers = set(taken)
    return next(number for number in range(FIRST_ID, 1 << 16) if number not in numbers)


def _require_owner(name: str, uids: dict[str, int]) -> None:
    if name not in uids:
        raise EqmailError(f"the owner of the programs, {name}, does not exist; name an existing user, usually root")


def _require_group(name: str, accounts_on_host: AccountDatabase, group: str, accounts: Accounts) -> None:
    gid = accounts_on_host.users[name][1]
    if accounts_on_host.groups.get(group) != gid:
        actual = next((known for known, number in accounts_on_host.groups.items() if number == gid), str(gid))
        raise EqmailError(
            f"the user {name} exists with the group {actual}, should be {group}: usermod -g {group} {name}"
        )
