"""`eqmail user`: who gets mail under which name, with or without an account."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file
from eqmail_core.users.database import assign_path
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, RenamedOption, json_option, staged_change_options
from eqmail_setup.cli.output import Column, print_rows
from eqmail_setup.cli.passwords import note_checker, password_options, secret_from
from eqmail_setup.cli.progress import on_terminal, progress
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.mail import credentials as smtp_logins
from eqmail_setup.mail import users as mail_users
from eqmail_setup.mail.assign_file import AssignEntry, read_assignments
from eqmail_setup.mail.credentials import SCHEMES
from eqmail_setup.mail.users import entry_for
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change
from eqmail_setup.transaction.progress import ProgressCallback, no_progress

_WORTH_A_BAR = 1 << 20
PASSWD = "/etc/passwd"


_COLUMNS = (Column("LOCAL PART", fixed=True), "TYPE", "USER", "UID:GID", "HOME", "FILES")


@click.group("user")
def command() -> None:
    """Manage who gets mail under which name (users/assign and the database made of it).

    Users without an entry receive mail by their account. Passwords for sending and fetching mail are kept apart from
    that: eqmail auth.

    \b
    Examples:
      eqmail user add foo --ids 65534:65533
      eqmail user list
      eqmail user compile
    """


@command.command("add")
@click.argument("local")
@click.option("--ids", metavar="UID:GID", default="", help="Numbers to deliver as; else those of the account.")
@click.option(
    "--home-dir",
    "home",
    cls=RenamedOption,
    former=["--home-of-user"],
    metavar="DIR",
    default="",
    help="Home; default: that of the account, or users/LOCAL.",
)
@click.option(
    "--user-name",
    "user",
    cls=RenamedOption,
    former=["--as"],
    metavar="NAME",
    default="",
    help="User name that programs see; default: LOCAL.",
)
@click.option("--maildir", metavar="NAME", default="", help="Maildir in the home; else that of defaultdelivery.")
@click.option("--no-maildir", is_flag=True, help="Make no home, no Maildir and no .qmail file.")
@click.option("--no-extensions", is_flag=True, help="No mail for LOCAL+anything.")
@click.option("--replace", is_flag=True, help="Also where there is another entry for LOCAL.")
@staged_change_options
@click.pass_context
def add(
    context: click.Context,
    local: str,
    ids: str,
    home: str,
    user: str,
    maildir: str,
    no_maildir: bool,
    no_extensions: bool,
    replace: bool,
    change: ChangeOptions,
) -> int:
    """Give mail for LOCAL to a user, who need not have an account; make the home and a Maildir where missing.

    \b
    Examples:
      eqmail user add foo --ids 65534:65533
      eqmail user add joe --maildir Maildir
      eqmail user add joe.doe --user-name joe --ids 1001:1001 --home-dir /home/joe --no-maildir
    """
    site = require_installation(context)
    entry = entry_for(site, local, ids, home, user)
    return _compiling(
        context,
        site,
        change,
        lambda world, watch: mail_users.plan_add(
            site, world, entry, maildir, not no_maildir, not no_extensions, replace, watch
        ),
    )


@command.command("remove")
@click.argument("local")
@click.option("--discard-mail", is_flag=True, help="Also remove the Maildir in the home, for good.")
@staged_change_options
@click.pass_context
def remove(context: click.Context, local: str, discard_mail: bool, change: ChangeOptions) -> int:
    """Remove the entries of LOCAL; the mail stays where it is.

    \b
    Examples:
      eqmail user remove foo --dry-run
      eqmail user remove foo --discard-mail
    """
    site = require_installation(context)
    return _compiling(
        context, site, change, lambda world, watch: mail_users.plan_remove(site, world, local, discard_mail, watch)
    )


@command.command("passwd", hidden=True)
@click.argument("login")
@password_options
@click.option("--scheme", type=click.Choice(tuple(SCHEMES)), default=next(iter(SCHEMES)), help="How it is stored.")
@click.option("--remove", "removes", is_flag=True, help="Remove LOGIN.")
@staged_change_options
@click.pass_context
def passwd(
    context: click.Context,
    change: ChangeOptions,
    login: str,
    asks: bool,
    stdin: bool,
    hash: str,
    scheme: str,
    removes: bool,
) -> int:
    """Set the password of LOGIN: the former name of eqmail auth set and eqmail auth remove.

    \b
    Examples:
      eqmail auth set joe
    """
    site = require_installation(context)
    if removes and (asks or stdin or hash):
        raise usage_error("--remove and the options of a password exclude each other")
    if removes:
        execute(context, site, change, lambda world: smtp_logins.plan_remove(site, world, login))
        return 0
    secret = secret_from(login, asks or not (stdin or hash), stdin, hash, scheme)
    execute(context, site, change, lambda world: smtp_logins.plan_set_credential(site, world, login, secret))
    note_checker(site, change)
    return 0


@command.command("list")
@click.option("--smtp-auth", is_flag=True, hidden=True, help="As eqmail auth list.")
@json_option
@click.pass_context
def list_(context: click.Context, smtp_auth: bool, as_json: bool) -> int:
    """List the entries of users/assign.

    \b
    Examples:
      eqmail user list --json
    """
    site = require_installation(context)
    if smtp_auth:
        logins = smtp_logins.credentials_in(site, DiskFilesystem(site.home))
        hint = ("eqmail", "auth", "set", "LOGIN")
        print_rows(("LOGIN", "METHOD"), logins, lambda row: row, as_json, "credentials", "no SMTP credentials", hint)
        return 0
    entries = read_assignments(assign_path(site)).entries()
    print_rows(_COLUMNS, entries, _cells, as_json, "users", "no entries; system accounts receive mail without one")
    return 0


@command.command("show")
@click.argument("local")
@json_option
@click.pass_context
def show(context: click.Context, local: str, as_json: bool) -> int:
    """Show the entries of LOCAL and of its extensions.

    \b
    Examples:
      eqmail user show foo
    """
    site = require_installation(context)
    names = {local.lower(), local.lower() + os.fsdecode(site.break_char)}
    entries = [
        entry for entry in read_assignments(assign_path(site)).entries() if entry.local and entry.local.lower() in names
    ]
    if not entries:
        raise EqmailError(f"user {local}: not found in {assign_path(site)}", hint=("eqmail", "explain", local))
    print_rows(_COLUMNS, entries, _cells, as_json, "users")
    return 0


@command.command("import-passwd")
@click.argument("file", required=False)
@click.option("--replace", is_flag=True, help="Also where there are other entries for the same names.")
@staged_change_options
@click.pass_context
def import_passwd(context: click.Context, file: str | None, replace: bool, change: ChangeOptions) -> int:
    """Make an entry for every account of FILE (/etc/passwd when left out) that owns its home.

    users/include, exclude, mailnames, subusers and append work as in qmail-pw2u. Entries of other names stay.

    \b
    Examples:
      eqmail user import-passwd --diff
      eqmail user import-passwd accounts.txt --replace
    """
    site = require_installation(context)
    content = read_file(file or PASSWD)
    if content is None:
        raise EqmailError(f"{file}: does not exist")
    lines = content.splitlines()
    return _compiling(
        context, site, change, lambda world, watch: mail_users.plan_import(site, world, lines, replace, watch)
    )


@command.command("compile")
@staged_change_options
@click.pass_context
def compile_(context: click.Context, change: ChangeOptions) -> int:
    """Make users/cdb of users/assign, as qmail-newu does; look-ups see the old or the new one, never a part.

    \b
    Examples:
      eqmail user compile
    """
    site = require_installation(context)
    return _compiling(context, site, change, lambda world, watch: mail_users.plan_compile(site, world, watch))


def _cells(entry: AssignEntry) -> tuple[str, ...]:
    end = "*" if entry.wildcard else ""
    kind = "prefix" if entry.wildcard else "name"
    files = f".qmail{entry.dash}{entry.ext}{end}"
    return f"{entry.local}{end}", kind, entry.user, f"{entry.uid}:{entry.gid}", entry.home, files


def _compiling(
    context: click.Context,
    site: Site,
    change: ChangeOptions,
    plan: Callable[[Filesystem, ProgressCallback], list[Change]],
) -> int:
    """Execute a change of users with a progress bar, which is removed before any output."""

    def watched(filesystem: Filesystem) -> list[Change]:
        with _bar(assign_path(site)) as watch:
            return plan(filesystem, watch)

    execute(context, site, change, watched)
    return 0


@contextmanager
def _bar(path: str) -> Iterator[ProgressCallback]:
    """A progress bar for compiling a large file on a terminal."""
    if not on_terminal() or not os.path.exists(path) or os.path.getsize(path) < _WORTH_A_BAR:
        yield no_progress
        return
    with open(path, "rb") as file:
        total = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    with progress("compiling users", total) as watch:
        yield watch
